"""A model's chat template, written anew so that it says which tokens an assistant writes.

TRL learns from answers alone where a template marks them with `{% generation %}`, which few published ones do. What a
template puts around each kind of message is read off its own rendering; the new one puts the same there and the marks
around answers, and is checked to render trial conversations alike. An answer's mark reaches to the end of its turn.
"""

from __future__ import annotations

import json
from typing import Any

from harness.errors import UsageError

Message = dict[str, str]
WORD = "templatesSENTINEL"
TRIALS: tuple[tuple[str, ...], ...] = (
    ("user",),
    ("user", "assistant"),
    ("user", "assistant", "user"),
    ("user", "assistant", "user", "assistant", "user", "assistant"),
    ("system", "user", "assistant"),
    ("system", "user", "assistant", "user", "assistant"),
)


def marked(tokenizer: Any) -> str:
    """Return a template that renders as the tokenizer's own and marks what an assistant writes.

    One that marks it already is returned as it is. Raises UsageError for a tokenizer without a template, and for one
    whose turns depend on more than who speaks and what stands before.
    """
    own = getattr(tokenizer, "chat_template", None)
    if not isinstance(own, str) or not own:
        raise UsageError("the tokenizer has no chat template to mark: choose a model that was tuned to chat")
    if "{% generation" in own or "{%- generation" in own:
        return own

    def render(roles: tuple[str, ...], ask: bool = False, template: str = "", blank: str = "") -> str:
        told = [
            {"role": role, "content": f"{blank}{WORD}{place} a{blank}"} for place, role in enumerate(roles)
        ]
        return str(
            tokenizer.apply_chat_template(
                told, tokenize=False, add_generation_prompt=ask, chat_template=template or own
            )
        )

    def differs(template: str) -> str:
        for roles in TRIALS:
            for ask in (False, True)[: 1 + (roles[-1] == "user")]:
                for blank in ("", "\n "):
                    try:
                        wanted = render(roles, ask, blank=blank)
                    except Exception:  # it takes no system message; then nothing is asked of the new one
                        continue
                    if render(roles, ask, template, blank) != wanted:
                        return f"{' and '.join(roles)} come out otherwise"
        return ""

    try:
        whole = _template(render)
        for found in (whole, whole.replace("message['content']", "message['content'] | trim")):
            if not (said := differs(found)):
                return found
    except Exception as error:
        said = str(error)
    raise UsageError(
        f"the chat template cannot be marked by its rendering ({said}): put {{% generation %}} and "
        "{% endgeneration %} around its answers by hand"
    )


def _template(render: Any) -> str:
    """Put together what stands before and after each kind of message, first in a conversation or later."""

    def cut(text: str, count: int) -> list[str]:
        parts, rest = [], text
        for place in range(count):
            before, mark, rest = rest.partition(f"{WORD}{place} a")
            if not mark:
                raise ValueError("a message is not rendered as it was given")
            parts.append(before)
        return [*parts, rest]

    opening, asked = cut(render(("user",)), 1)
    header = render(("user",), ask=True)[len(opening + WORD + "0 a" + asked) :]
    first = cut(render(("user", "assistant")), 2)
    later = cut(render(("user", "assistant", "user")), 3)
    answered, next_user = _shared(first[2], later[2])
    before_answer = first[1][len(asked) :] if first[1].startswith(asked) else first[1]
    after_user = asked if first[1].startswith(asked) else ""
    starts = f"{_quoted(opening)} if loop.first else "
    try:
        system = cut(render(("system", "user")), 2)
    except Exception:
        system = []
    if system:  # which opens the conversation instead
        starts += f"{_quoted(system[1])} if loop.index0 == 1 and messages[0]['role'] == 'system' else "
    lines = [
        "{%- for message in messages %}",
        "{%- if message['role'] == 'user' %}",
        f"{{{{- ({starts}{_quoted(next_user)}) + (message['content']) + {_quoted(after_user)} }}}}",
        "{%- elif message['role'] == 'assistant' %}",
        f"{{{{- {_quoted(before_answer)} }}}}",
        f"{{%- generation %}}{{{{- (message['content']) + {_quoted(answered)} }}}}{{%- endgeneration %}}",
    ]
    if system:
        lines += [
            "{%- elif message['role'] == 'system' %}",
            f"{{{{- {_quoted(system[0])} + (message['content']) }}}}",
        ]
    lines += ["{%- endif %}", "{%- endfor %}"]
    lines.append(f"{{%- if add_generation_prompt %}}{{{{- {_quoted(header)} }}}}{{%- endif %}}")
    return "\n".join(lines)


def _shared(one: str, other: str) -> tuple[str, str]:
    """Return what two texts begin with alike, and what the second has behind it."""
    count = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    return one[:count], other[count:]


def _quoted(text: str) -> str:
    """Return text as a string of Jinja's."""
    return json.dumps(text, ensure_ascii=False)
