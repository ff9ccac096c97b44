import json
from functools import partial

import numpy as np
import pytest
import torch

from musegen.errors import DataError, InputError
from musegen.midi.instruments import INSTRUMENTS
from musegen.midi.score import Meters, Notes, Score, Tempos, Track
from musegen.music import metrics
from musegen.music import vocabulary as v
from musegen.music.corpus import Corpus, Piece, prepare_corpus
from musegen.music.features import FEATURES
from musegen.music.grid import quantise
from musegen.music.metrics import CONDITIONS, closed, evaluate, muse_losses, views, wrong_labels
from musegen.music.muse import Muse, MuseConfig
from musegen.music.ngram import NGram
from musegen.music.tasks import build_muse
from musegen.music.tokenizer import encode

LABELS = ("slow", "fast")
CONTEXT = 64
TINY = MuseConfig(d_model=16, n_heads=2, n_layers=1, context=CONTEXT, block=16, n_summary=2)


def a_score(rng, n_bars=12, step=240, meters=((0, 4, 4),), n_parts=1):
    """A walk of eighths or quarters at 480 ticks a quarter, in a tempo that changes half-way."""
    start = np.arange(0, n_bars * 1920, step)
    tracks = []
    for part in range(n_parts):
        pitch = 60 + 7 * part + np.clip(np.cumsum(rng.integers(-2, 3, len(start))), -20, 20)
        notes = Notes(start, np.full(len(start), step), pitch, rng.integers(40, 90, len(start)))
        tracks.append(Track("", INSTRUMENTS[part].program, False, notes))
    tempos = Tempos([0, n_bars * 960], [500_000, 400_000])
    return Score(480, tuple(tracks), tempos, Meters(*(list(column) for column in zip(*meters, strict=True))))


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch):
    """In float32 on every machine, so that figures can be compared to the last digits."""
    monkeypatch.setattr(metrics, "has_fast_bfloat16", lambda device: False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("midi")
    for label, step in zip(LABELS, (480, 240), strict=True):
        (folder / label).mkdir()
        for number in range(12):
            rng = np.random.default_rng([step, number])
            a_score(rng, 8 + number, step).write(folder / label / f"{number:02}.mid")
    out = tmp_path_factory.mktemp("shards")
    prepare_corpus(folder, out, n_workers=1)
    return Corpus(out)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_muse(TINY)


@pytest.fixture(scope="module")
def result(model, corpus):
    return evaluate(model, list(LABELS), corpus)


def a_piece(seed=0, **shape):
    grid, _ = quantise(a_score(np.random.default_rng(seed), **shape))
    body = encode(grid)
    return Piece(body.tokens, body.bar_starts, grid.meters, grid.tempos)


PIECES = {
    "many windows": partial(a_piece, n_bars=30),
    "one window": partial(a_piece, n_bars=1, step=480),
    "meters that change": partial(a_piece, n_bars=30, meters=tuple((1920 * i, 3 + i % 2, 4) for i in range(20))),
    "bars longer than the context": partial(a_piece, n_bars=6, step=60, n_parts=2),
    "bars about half as long as the context": partial(a_piece, n_bars=9, step=240, n_parts=2),
}


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", PIECES)
def test_each_token_is_scored_once_behind_the_tokens_before_it(name, condition):
    piece = PIECES[name]()
    tokens = closed(piece)
    n_scored = 0
    for view in views(piece, 3, condition, CONTEXT):
        assert view.first == n_scored < view.last
        n_scored = view.last
        n = view.last - view.first
        assert len(view.tokens) == len(view.features) <= CONTEXT + 1
        np.testing.assert_array_equal(view.tokens[-n:], tokens[view.first : view.last])
        assert view.tokens[0] == v.START
    assert n_scored == len(tokens) == len(piece.tokens) + 1


@pytest.mark.parametrize("name", PIECES)
def test_what_is_read_is_the_piece_itself_and_long(name):
    piece = PIECES[name]()
    tokens = closed(piece)
    longest_bar = np.diff(piece.bar_starts).max()
    for view in views(piece, None, "nothing told", CONTEXT):
        n = len(view.tokens) - (view.last - view.first)
        read = view.tokens[1:n]
        if view.first:
            assert (
                CONTEXT // 2 - longest_bar <= len(read) <= CONTEXT // 2 + 2
            )  # with the meter and tempo that are added
        if view.first and read[0] == v.BAR:  # the bar line, which names its meter and tempo, and no more than that
            bar = int(np.searchsorted(piece.bar_starts, view.first - len(read) + 2, side="right")) - 1
            assert view.features[1, 1] == bar % 16
            assert read[1] == v.METER.first + piece.meters[bar]
            assert read[2] == v.TEMPO.first + piece.tempos[bar]
            read = read[3:]
        np.testing.assert_array_equal(read, tokens[view.first - len(read) : view.first])


@pytest.mark.parametrize("name", PIECES)
def test_features_do_not_depend_on_the_window(name):
    piece = PIECES[name]()
    (whole,) = views(piece, None, "controls told", 100_000)
    whole = whole.features[-len(closed(piece)) :]
    for view in views(piece, None, "controls told", CONTEXT):
        np.testing.assert_array_equal(view.features[-(view.last - view.first) :], whole[view.first : view.last])


def test_a_condition_tells_what_it_says():
    piece = a_piece(n_bars=30)
    countdown = list(FEATURES).index("countdown")
    for view in views(piece, 3, "nothing told", CONTEXT):
        assert v.BAR in view.tokens[1:2]
        assert (view.features[:, countdown] == 128).all()
    for view in views(piece, 3, "style told", CONTEXT):
        assert view.tokens[1] == v.STYLE.first + 3
        assert view.tokens[2] == v.BAR
        assert (view.features[:, countdown] == 128).all()
    for view in views(piece, 3, "controls told", CONTEXT):
        header = view.tokens[: int(np.argmax(view.tokens == v.BAR))]
        for block in (v.STYLE, v.INSTRUMENT, v.KEY, v.TEMPO, v.METER, v.DENSITY):
            assert any(token in block for token in header.tolist())
        assert (view.features[:, countdown] < 128).all()
    assert next(views(piece, None, "style told", CONTEXT)).tokens[1] == v.BAR


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_uniform_model_pays_the_logarithm_of_the_vocabulary(condition, model):
    uniform = build_muse(TINY)
    torch.nn.init.zeros_(uniform.head.weight)
    for scored in muse_losses(uniform, [a_piece(), a_piece(1, n_bars=3)], [0, None], condition, batch_size=3):
        np.testing.assert_allclose(scored, np.log(v.N_TOKENS), rtol=1e-6)


def test_batches_and_their_padding_change_nothing(model):
    pieces, styles = [a_piece(n_bars=n) for n in (2, 9, 1, 14)], [0, 1, None, 2]
    one = muse_losses(model, pieces, styles, "controls told", batch_size=1)
    many = muse_losses(model, pieces, styles, "controls told", batch_size=5)
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_short_piece_costs_what_one_plain_forward_says(model):
    piece = a_piece(n_bars=1, step=480)
    (view,) = views(piece, None, "nothing told", CONTEXT)
    inputs = torch.from_numpy(np.concatenate([view.tokens[:, None], view.features], axis=1))[None, :-1]
    with torch.inference_mode():
        log_p = model(inputs)[0].log_softmax(-1)
    expected = -log_p[torch.arange(len(log_p)), torch.from_numpy(closed(piece))]
    (scored,) = muse_losses(model, [piece], [None], "nothing told")
    np.testing.assert_allclose(scored, expected, atol=1e-5)


def test_the_model_keeps_its_mode():
    model = Muse(TINY, torch.from_numpy(v.factors()), tuple(FEATURES.values()))
    for training in (True, False):
        model.train(training)
        muse_losses(model, [a_piece(n_bars=1)], [None], "nothing told")
        assert model.training == training


def test_everything_is_measured_on_the_same_tokens(result, corpus):
    pieces = [corpus.piece(int(index)) for index in corpus.select("valid")]
    tokens = np.concatenate([closed(piece) for piece in pieces])
    assert result["n_pieces"] == result["n_pieces_in_split"] == len(pieces) == 2
    assert result["n_tokens"] == len(tokens)
    assert result["n_notes"] == sum(token in v.NOTE for token in tokens.tolist())
    rows = {row["model"]: row for row in result["models"]}
    assert list(rows) == [*(f"muse, {name}" for name in CONDITIONS), "5-gram", "unigram"]
    for row in rows.values():
        assert row["nats_per_note"] == pytest.approx(row["nats_per_token"] * len(tokens) / result["n_notes"])
    five = NGram.fit(closed(corpus.piece(int(index))) for index in corpus.select("train"))
    expected = sum(five.losses(closed(piece)).sum() for piece in pieces) / len(tokens)
    assert rows["5-gram"]["nats_per_token"] == pytest.approx(expected)
    assert {name for name, row in rows.items() if row["comparable"]} == {"muse, nothing told", "5-gram", "unigram"}


def test_labels_and_blocks_add_up(result):
    headline, five = result["models"][0]["nats_per_token"], result["models"][len(CONDITIONS)]["nats_per_token"]
    for rows in (result["labels"], result["blocks"]):
        counts = np.array([row["n_tokens"] for row in rows])
        assert counts.sum() == result["n_tokens"]
        for key, total in (("nats_per_token", headline), ("5-gram nats_per_token", five)):
            assert np.dot(counts, [row[key] for row in rows]) / counts.sum() == pytest.approx(total)
    assert [row["label"] for row in result["labels"]] == sorted(LABELS)
    assert sum(row["n_pieces"] for row in result["labels"]) == result["n_pieces"]
    for key in ("share_of_tokens", "share_of_nats"):
        assert sum(row[key] for row in result["blocks"]) == pytest.approx(1)
    blocks = {row["block"]: row for row in result["blocks"]}
    assert blocks["note"]["n_tokens"] == result["n_notes"]
    assert blocks["special"]["n_tokens"] == result["n_pieces"]  # `end`


def test_the_result_is_json(result):
    assert json.loads(json.dumps(result)) == result


def test_it_can_leave_out_baselines_and_pieces_and_says_how_far_it_is(model, corpus):
    seen = []
    result = evaluate(
        model, list(LABELS), corpus, "test", baselines=False, max_pieces=1, on_progress=lambda *call: seen.append(call)
    )
    assert (result["n_pieces"], result["n_pieces_in_split"]) == (1, 2)
    assert [row["model"] for row in result["models"]] == [f"muse, {name}" for name in CONDITIONS]
    assert not any(key.startswith("5-gram") for row in result["labels"] + result["blocks"] for key in row)
    for condition in CONDITIONS:
        done = [call[1] for call in seen if call[0] == condition]
        assert done == sorted(done)
        assert done[-1] == result["n_tokens"]
    assert {call[2] for call in seen} == {result["n_tokens"]}


def test_a_wrong_label_is_always_another():
    assert wrong_labels(["a", "c", "a", "b"], "abcd") == {"a": "b", "b": "c", "c": "a"}
    assert wrong_labels(["a", "a"], "dab") == {"a": "b", "b": "d", "d": "a"}


@pytest.mark.parametrize("styles", [["fast"], ["other", "another"]])
def test_where_the_model_knows_no_other_label_no_wrong_one_is_told(model, corpus, styles: list[str]):
    result = evaluate(model, styles, corpus, baselines=False)
    told = [row["model"].removeprefix("muse, ") for row in result["models"]]
    assert told == [name for name in CONDITIONS if name != "wrong style told"]
    assert not any("wrong" in key for row in result["labels"] for key in row)


def test_what_cannot_be_measured_is_refused(model, corpus):
    with pytest.raises(
        DataError, match=r"no piece with a beat in its other split; .* hold none out, and --split train measures"
    ):
        evaluate(model, list(LABELS), corpus, "other")
    with pytest.raises(InputError, match="max_pieces is 0"):
        evaluate(model, list(LABELS), corpus, max_pieces=0)
