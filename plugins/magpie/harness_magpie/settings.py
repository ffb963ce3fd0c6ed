"""What every method of this paper shares (`Task`, `Data`), and what tells one from another (`Magpie`)."""

from dataclasses import dataclass
from enum import Enum

from harness import setting, source


class Prompt(Enum):
    """Where instructions come from: the template, it without a system message, seed tasks as examples, people."""

    template = "template"
    bare = "bare"
    examples = "examples"
    human = "human"


class Mode(Enum):
    """How instructions are cut: as the released scripts do (one line), or keeping all lines."""

    official = "official"
    whole = "whole"


class Precision(Enum):
    """What the generator computes in; auto rounds its weights to bfloat16 and computes in what is fast here."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


@dataclass
class Data:
    """Seed tasks written by people, and questions that no method has seen."""

    seeds: str = source(
        "",
        "seed tasks with instruction, and output or instances: Self-Instruct's examples, human_written's pairs",
        ("instruction",),
    )
    questions: str = source(
        "", "unseen questions with instruction or turns (MT-Bench); the generator answers them", ()
    )


@dataclass
class Task:
    """The generator's sampling, the student and its training, and the judging; lengths in tokens."""

    system: str = setting(
        "", "a system message that asks for a domain or language; empty: the template's own"
    )
    samples: int = setting(176, "instructions that are sampled", least=1)
    mode: Mode = setting(Mode.official, "how instructions are cut: official (one line) or whole")
    instruction_tokens: int = setting(48, "most tokens of an instruction", least=1)
    answer_tokens: int = setting(64, "most tokens of an answer; answers are greedy", least=1)
    generation_batch: int = setting(176, "rows the generator continues at once", least=1)
    generator_precision: Precision = setting(
        Precision.auto,
        "bfloat16, float32, or auto: weights of bfloat16, products in what this machine is fast at",
    )
    train_pairs: int = setting(60, "pairs that the student of Magpie's set learns from", least=1)
    equal_tokens: bool = setting(
        True,
        "other students learn from as many tokens of answers, in each step and in all; false: from as many pairs",
    )
    validation_pairs: int = setting(10, "pairs held out for validation", least=0)
    test_pairs: int = setting(20, "pairs held out for test", least=0)
    questions: int = setting(24, "most of data.questions that are used", least=0)
    people: int = setting(
        40,
        "seed tasks that no method sees: students are judged by what people answered; a quarter of all at most",
        least=0,
    )
    student: str = setting(
        "", "base model to tune: a hub id or folder; empty: a pruned copy of the generator"
    )
    keep_layers: str = setting(
        "0-9,20-29", "layers of the generator that the pruned student keeps; empty: all of them"
    )
    frozen_layers: int = setting(10, "first layers of the student that are not tuned", least=0)
    own_vocabulary: bool = setting(
        True, "cut the pruned student's vocabulary to the tokens it meets, its embedding frozen"
    )
    lora_rank: int = setting(
        0, "tune a LoRA of this rank with peft instead of the weights; 0: the weights", least=0
    )
    length: int = setting(256, "tokens of a packed row of pairs", least=1)
    batch_size: int = setting(8, "pairs in a batch", least=1)
    steps: int = setting(24, "training steps", least=1)
    warmup: int = setting(2, "steps of linear warm-up, then cosine", least=0)
    learning_rate: float = setting(8e-4, "peak learning rate", least=0)
    weight_decay: float = setting(0.01, "decoupled weight decay", least=0)
    beta_2: float = setting(0.98, "AdamW's second beta; the first is 0.9", least=0, most=1)
    encoder: str = setting(
        "", "sentence encoder for neighbour distances, a hub id or folder; empty: hashed TF-IDF"
    )
    lm_eval: list[str] = setting([], "tasks of lm-eval that the student answers; their accuracies are pooled")
    lm_eval_limit: int = setting(200, "most documents of each lm-eval task", least=0)
    engine: str = setting(
        "",
        "what writes: transformers in this process; or vllm, or a server's http://host:8000[#its-model], of which "
        "the model counts and not where it is",
    )
    made_seeds: int = setting(
        0, "make this many seed tasks where data.seeds is empty: for tests only", least=0
    )


@dataclass
class Magpie:
    """A way to come by instruction data. The paper's is the default."""

    prompt: Prompt = setting(Prompt.template, "template, bare, examples or human")
    temperature: float = setting(1.0, "temperature of the instructions", least=0)
    top_p: float = setting(0.9, "nucleus of the instructions", least=0, most=1)
    filter: str = setting("valid", "preset that chooses the pairs: harness magpie presets lists them")
    shuffled: bool = setting(False, "give every question another one's answer")
    share: float = setting(1.0, "share of such a set that the student sees, again and again", least=0, most=1)
    student: bool = setting(True, "answer the instructions and tune a student on them")
