"""What the paper claims and measured, and what can be measured here to decide it.

The paper's judges are GPT-4 and 8B students; here a 135 M model writes and its pruned copy learns. So the
claims on the set (validity, novelty, temperature) are asked as they stand, and those on students as loss
and as the own-question gain: how much better a student predicts an answer under its own question than
under another one. What a claim of the paper's becomes at this size is told in the card.
"""

from harness import Bound, Claim, Figure, Origin, Reported, Seen, difference, level, wins

AE2 = "AlpacaEval 2 LC win rate, Llama-3-8B base"


# A student that learns anything of a set answers unseen questions better than one of shuffled answers.
LEARNS = difference("question_loss", "magpie", "shuffled_answers")
# And it must answer people's tasks better as people did, or they tell nothing of sets.
FOLLOWS = difference("people_loss", "magpie", "shuffled_answers")
# Requests that people wrote must be told from what the bare template yields, or validity is told of nothing.
TOLD = difference("valid", "human_written", "magpie_bare_template")
# A hotter generator must be seen to repeat fewer word pairs, or no difference in variety would be.
VARIED = difference("distinct_2", "magpie_hot", "magpie")
SEEN_DATA = "SmolLM2-135M-Instruct with the seed tasks (seed_tasks.jsonl)"


def _seen(value: str) -> Bound:
    return Bound(Origin.PROTOTYPE, f"{value} was seen", SEEN_DATA)


def _paper(value: float, setting: str, table: str) -> Reported:
    return Reported(value, setting, table, Seen.PAPER)


CLAIMS = [
    Claim(
        "Prompted with its own template, the model writes usable requests: .2 more of them than without the "
        "system message",
        difference("valid", "magpie", "magpie_bare_template", by=0.2),
        "section 2.1; the system message: the authors' rule in their issue 28",
        bound=_seen(".42"),
        control=TOLD,
    ),
    Claim(
        "Magpie's instructions are further from the seed tasks than Self-Instruct's, same model and sampling",
        difference("seed_similarity", "magpie", "self_instruct", by=0.08),
        "section 3: diversity without seed questions",
        bound=_seen(".17"),
        control=VARIED,
    ),
    Claim(
        "Magpie's instructions are more varied than Self-Instruct's: distinct word pairs",
        difference("distinct_2", "magpie", "self_instruct"),
        "section 3",
        control=VARIED,
    ),
    Claim(
        "A hotter generator writes more varied instructions: nearest-neighbour distance at T = 1.2 over T = 1.0",
        difference("neighbour_distance", "magpie_hot", "magpie"),
        "appendix, Figure 11",
        _paper(0.501 - 0.328, "Air, top_p 1, distance at T = 1.2 less T = 1.0 (0.501 - 0.328)", "Figure 11"),
        control=VARIED,
    ),
    Claim(
        "A hotter generator writes instructions of lower quality: here, fewer are valid",
        difference("valid", "magpie", "magpie_hot"),
        "appendix, Figure 11",
        _paper(3.192 - 2.882, "Air, top_p 1, quality 1 to 5 at T = 1.0 less T = 1.2", "Figure 11"),
        control=TOLD,
    ),
    Claim(
        "Question and answer belong together: the student gains more from the own question than with shuffled "
        "answers, by .1",
        difference("own_question_gain", "magpie", "shuffled_answers", by=0.10),
        "sections 2 and 5 rest on it",
        is_control=True,
        bound=_seen(".20"),
    ),
    Claim(
        "The same by plain loss on unseen pairs",
        difference("held_out_loss", "magpie", "shuffled_answers"),
        "sections 2 and 5 rest on it",
        is_control=True,
    ),
    Claim(
        "A student of Magpie's pairs beats one of Self-Instruct's, on questions neither has seen",
        difference("question_loss", "magpie", "self_instruct"),
        "Table 1",
        _paper(20.17 - 7.21, f"{AE2}, 100K pairs of one generator (20.17 - 7.21)", "Table 1"),
        control=LEARNS,
    ),
    Claim(
        "The same by people's answers, to tasks that no method has seen: a judge that is not the generator",
        difference("people_loss", "magpie", "self_instruct"),
        "Table 1",
        control=FOLLOWS,
    ),
    Claim(
        "Answer by answer, a student of Magpie's pairs wins over one of Self-Instruct's: it answers unseen questions "
        "more like the generator that taught both",
        wins("nearer_answers", "magpie", over="self_instruct"),
        "Table 1",
        _paper(
            21.33 - 5.18,
            "AlpacaEval 2 raw win rate of either over GPT-4-Turbo, by GPT-4 (21.33 - 5.18); the two are not "
            "compared with each other",
            "Table 1",
        ),
        control=wins("nearer_answers", "magpie", over="shuffled_answers"),
    ),
    Claim(
        "A student of Magpie's pairs beats one of the seed tasks that people wrote, on the same questions: at as many "
        "tokens of answers",
        difference("question_loss", "magpie", "human_written"),
        "Table 1; the paper's human-made sets are others (ShareGPT, WildChat)",
        control=LEARNS,
    ),
    Claim(
        "Filtering helps: the student of filtered pairs beats the one of unfiltered ones",
        difference("question_loss", "magpie", "magpie_unfiltered"),
        "Table 1",
        _paper(25.08 - 21.65, f"{AE2}, Pro-300K filtered less raw (25.08 - 21.65)", "Table 1"),
        control=LEARNS,
    ),
    Claim(
        "More data help: the whole set teaches more than the first half of it, with as many steps",
        difference("question_loss", "magpie", "magpie_half"),
        "Table 1 and the scaling of its sets, by win rate",
        control=LEARNS,
    ),
    Claim(
        "By people's answers, to tasks that no method has seen, a student of people's pairs beats one of Magpie's",
        difference("people_loss", "human_written", "magpie"),
        "against Table 1; people wrote both what it learns and what it is judged by",
        counter=True,
        control=FOLLOWS,
    ),
    Claim(
        "At this size Self-Instruct's instructions are more often valid than Magpie's",
        difference("valid", "self_instruct", "magpie"),
        "against section 3: quality without seeds",
        counter=True,
        control=TOLD,
    ),
    Claim(
        "Most of what this model samples from its template is usable",
        level("valid", "magpie", at_least=0.5),
        "section 2.1",
        bound=Bound(Origin.INTEREST, "most is more than half"),
        control=TOLD,
    ),
]

FIGURES = [
    Figure(
        "The instructions",
        "bar",
        {
            "valid": "valid",
            "distinct_2": "distinct pairs",
            "neighbour_distance": "distance to neighbour",
            "seed_similarity": "likeness to seeds",
        },
        x="of the instructions",
        y="share, distance or ROUGE-L",
    ),
    Figure(
        "What the student takes from the question",
        "bar",
        {"own_question_gain": "unseen Magpie pairs", "question_gain": "unseen questions"},
        x="on",
        y="nats an answer token",
    ),
]
