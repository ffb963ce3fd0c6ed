"""What every method of this paper shares (`Task`, `Data`), and what tells one from another (`Scorer`)."""

from dataclasses import dataclass
from enum import Enum

from harness import setting, source


class Score(Enum):
    """What a summary is judged by."""

    rdass = "the mean of both cosines"
    reference = "s(p, r), the cosine with the reference"
    document = "s(p, d), the cosine with the document"
    rouge_1 = "overlap of single tokens with the reference, F1"
    rouge_2 = "overlap of pairs of tokens with the reference, F1"
    rouge_l = "longest common subsequence with the reference, F1"
    length = "how many tokens the summary has"
    lead_overlap = "ROUGE-1 with the beginning of the document"


class Tokens(Enum):
    """What ROUGE counts."""

    eojeol = "words between spaces, punctuation attached"
    morpheme = "Kiwi's morphemes without punctuation"
    syllable = "single Hangul syllables; words of other scripts whole"


class Vectors(Enum):
    """Where sentence vectors come from."""

    model = "the encoder that model= names"
    tfidf = "character n-grams: no weights needed"


class Long(Enum):
    """What is done with a text that is longer than the encoder reads."""

    truncate = "its beginning is read, as the paper's tools do"
    mean = "the mean vector of its windows"
    max = "the window that is nearest to one of the other text"


@dataclass
class Data:
    """Judged summaries and Korean texts. None ships with the plugin, except a small sample for smoke runs."""

    judgments: str = source(
        "", "judged summaries: DialSummEval's human_judgment.jsonl, or a table like it", columns=("summary",)
    )
    articles: str = source(
        "", "Korean articles whose summary sentences are marked", columns=("sentences", "summaries")
    )
    sts: str = source(
        "", "scored sentence pairs to test an encoder on", columns=("sentence1", "sentence2", "score")
    )
    sts_train: str = source(
        "",
        "scored pairs to train p_sbert on; also the background of TF-IDF",
        columns=("sentence1", "sentence2", "score"),
    )
    nli: str = source(
        "", "labelled pairs to train p_sbert on first", columns=("sentence1", "sentence2", "gold_label")
    )


@dataclass
class Task:
    """How texts become vectors, and how a metric is put to the test."""

    judgments_vectors: Vectors = setting(Vectors.model, "what reads the judged summaries: model or tfidf")
    articles_vectors: Vectors = setting(
        Vectors.tfidf, "what reads articles and sentence pairs: model or tfidf"
    )
    long: Long = setting(Long.truncate, "texts beyond the encoder's length: truncate, mean or max")
    pooling: str = setting(
        "", "cls, mean, max, lasttoken ..., joined by +; empty: as the encoder's folder says"
    )
    prompt: str | None = setting(
        None, "put before every text, or the name of a prompt of the encoder's folder; null: its default"
    )
    max_length: int = setting(0, "tokens the encoder reads at most; 0 is its own limit", least=0)
    copying_systems: list[str] = setting(
        ["B", "C"], "systems that copy the document; left out of abstractive_*"
    )
    swapped_words: float = setting(0.2, "share of words that the edit `swap` replaces", least=0, most=1)
    edit_seed: int = setting(0, "seed of the constructed edits, the same for every method", least=0)
    sample: bool = setting(False, "use the plugin's own small sample for what is not given (no evidence)")


@dataclass
class Scorer:
    """A way to score a summary. `trained` trains the encoder first: NLI, then STS (P-SBERT)."""

    score: Score = setting(Score.rdass, "what a summary is judged by")
    tokens: Tokens = setting(Tokens.syllable, "what ROUGE, length and lead_overlap count")
    ngrams: bool = setting(False, "vectors of character n-grams of the judged texts, whatever the task says")
    trained: bool = setting(False, "train the encoder on NLI and STS before it judges")
    nli_epochs: float = setting(1.0, "epochs on labelled pairs", least=0)
    sts_epochs: float = setting(4.0, "epochs on scored pairs", least=0)
    train_batch: int = setting(16, "pairs in a training batch", least=1)
    learning_rate: float = setting(2e-5, "peak learning rate; 10 % linear warm-up", least=0)
    scratch: bool = setting(False, "train a small encoder built here instead of the one model= names")
    width: int = setting(128, "width of the encoder built here", least=1)
    layers: int = setting(2, "layers of the encoder built here", least=1)
