from benchmarks import serving
from pipeline.models import encoders
from tests.tiny import TINY


def test_plain_code_gives_the_same_answers(records, tokenizer):
    model = encoders.new_qa_model(TINY["teacher"]["config"], vocab_size=200, seed=0).eval()
    ours = serving.answering(model, tokenizer, 64)(records)
    theirs = serving.plain_answers(model, tokenizer, records, max_length=64, batch=3)
    assert [best.text for (best,) in ours] == theirs
    assert len(set(theirs)) > 1
