"""The words of both turns, and where they lie between a chat template's marks.

The second turn's prompt must hold the first answer as it was generated. So it is not rendered anew: the
template is asked once what stands between the first answer and the second, and those tokens are appended.
A template that drops or rewrites an earlier answer (those of reasoning models do) is refused by name.
"""

from __future__ import annotations

from typing import Any

from harness.errors import UsageError
from harness.nn.turns import ends_of, render
from harness_score.addition import CORRECTION
from harness_score.episodes import Turns
from harness_score.settings import Prompt, Task

# After the paper's prompts for MATH (appendix): the correction's first sentences and the form of the final answer are
# its words, as far as we know them; the rest is ours.
MATH = (
    "You are a math expert. When you respond, respond only with the Solution of the final Problem, thinking step by "
    'step. At the end of the Solution, when you give your final answer, write it in the form "Final Answer: The '
    'final answer is $answer$. I hope it is correct."\n\n{problem}'
)
MATH_CORRECTION = (
    "There might be an error in the solution above because of lack of understanding of the question. Please correct "
    "the error, if any, and rewrite the solution. Only output the final solution! At the end of the Solution, when "
    'you give your final answer, write it in the form "Final Answer: The final answer is $answer$. I hope it is '
    'correct."'
)
NUMBER = '{problem}\n\nThink step by step, and end with a line "#### " and the number that is the answer.'
NUMBER_CORRECTION = (
    "There might be an error in the solution above because of lack of understanding of the question. Please correct "
    'the error, if any, and rewrite the solution. Only output the final solution! End with a line "#### " and the '
    "number that is the answer."
)
CODE = (
    "You are an expert Python programmer. Solve the task below. Reply with the program alone, in a block that begins "
    "with ```python and ends with ```.\n\n{problem}"
)
CODE_CORRECTION = (
    "There might be an error in the code above because of lack of understanding of the question. Please correct the "
    "error, if any, and rewrite the solution. Only output the final correct Python program!"
)
WORDS = {
    Prompt.code: (CODE, CODE_CORRECTION),
    Prompt.math: (MATH, MATH_CORRECTION),
    Prompt.number: (NUMBER, NUMBER_CORRECTION),
}
MARK = "<think>7f3a</think>\n\nThe answer is 7f3b."  # an answer with a thought before it: both must stay


def words(task: Task) -> tuple[str, str]:
    """Return what turn 1 says around a problem (with `{problem}`) and turn 2's correction prompt."""
    if task.prompt is Prompt.addition:
        return "{problem}", CORRECTION
    return WORDS[task.prompt]


def first_prompt(problem: str, task: Task, tokenizer: Any) -> list[int]:
    """Return the tokens of a problem's first prompt."""
    text = words(task)[0].replace("{problem}", problem)
    if not tokenizer.chat_template:
        ids: list[int] = tokenizer(text if task.prompt is Prompt.addition else text + "\n\n")["input_ids"]
        return ids
    rendered = render(tokenizer, [{"role": "user", "content": text}], True)
    return tokenizer(rendered, add_special_tokens=False)["input_ids"]


def text_turns(task: Task, tokenizer: Any, generation: Any = None) -> Turns:
    """Return the tokens between the answers, what ends an answer, and the longest answers.

    An answer ends where a turn of this model's chats does (`harness.nn.turns`); `generation` is its generation
    config, or its folder. Raises UsageError for a chat template that does not keep the first answer as it was.
    """
    correction = words(task)[1]
    ends = ends_of(tokenizer, generation)
    if not tokenizer.chat_template:
        between = correction if task.prompt is Prompt.addition else f"\n\n{correction}\n\n"
    else:
        asked = [{"role": "user", "content": "1 + 1?"}]
        opened = render(tokenizer, asked, True)
        told = [*asked, {"role": "assistant", "content": MARK}, {"role": "user", "content": correction}]
        whole = render(tokenizer, told, True)
        before, mark, between = whole.partition(MARK)
        if not mark or before != opened:
            raise UsageError(
                "this model's chat template drops or changes the first answer, so turn 2 could not see it: use a "
                "template that keeps earlier answers as they are (with their thoughts), or a model without one"
            )
    ids = tokenizer(between, add_special_tokens=False)["input_ids"]
    if not ids:
        raise UsageError("the tokenizer has no tokens for the correction prompt: use the model's own")
    return Turns(tuple(ids), ends.ids, task.answer_tokens, task.answer_tokens, ends.words)


def check_length(longest: int, turns: Turns, limit: int, reach: int | None = None) -> None:
    """Refuse prompts that leave no room for two answers, instead of cutting y1 silently.

    `limit` is task.length, `reach` the most tokens that the model reads, where it has a bound.
    """
    needed = longest + turns.first + len(turns.correction) + turns.second
    if needed <= limit:
        return
    answers = turns.first + turns.second
    if reach is None or needed <= reach:
        fix = f"raise task.length to {needed}"
    elif needed - answers < reach:
        fix = f"lower task.answer_tokens to {(reach - needed + answers) // 2}, as the model reads no more than {reach}"
    else:
        fix = f"leave out the longest problems, as the model reads no more than {reach}"
    raise UsageError(
        f"two turns need {needed} tokens (the longest prompt {longest}, answers {turns.first} and {turns.second}, "
        f"between them {len(turns.correction)}) and task.length is {limit}: {fix}"
    )
