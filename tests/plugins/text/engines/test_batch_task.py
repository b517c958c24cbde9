"""A task as a callable of batches, in the classes that engines hand over."""

import pickle
import sys

import numpy as np
import pyarrow
import pytest

import vertebra
from pages import code
from vertebra.errors import ArgumentError, WeightsMismatchError
from vertebra_text import BatchTask, ItemError

pytestmark = pytest.mark.keras(once=True)

TEXTS = ["the good fox.", "bad", "a good dog"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fox", "dog", "the", "a", "."]
SIZES = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24, "max_sequence_length": 32}


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Returns a folder with a preset of each task, under the name of the task."""
    import keras

    keras.utils.set_random_seed(1)
    folder = tmp_path_factory.mktemp("presets")
    backbone = vertebra.models.BertBackbone(vocabulary_size=len(VOCABULARY), **SIZES)
    backbone.save_to_preset(folder / "TextEmbedder", certificate=False)
    (folder / "TextEmbedder" / "vocab.txt").write_text("\n".join(VOCABULARY))
    heads = {"TextClassifier": {"labels": ["bad", "good"]}, "TokenClassifier": {"labels": ["O", "B-X"]}, "Reranker": {}}
    for task, options in heads.items():
        new = getattr(vertebra.models, task).from_preset(folder / "TextEmbedder", False, **options)
        new.save_to_preset(folder / task)
    return folder


@pytest.fixture
def vectors(presets):
    return vertebra.models.TextEmbedder.from_preset(presets / "TextEmbedder").embed(TEXTS)


def embedded(presets, batch, **options):
    return BatchTask(presets / "TextEmbedder", **options)(batch)


# === Classes of batches ===


def test_a_dict_of_arrays(presets, vectors):
    batch = {"id": np.arange(3), "text": np.array(TEXTS)}
    found = embedded(presets, batch)
    assert list(batch) == ["id", "text"]
    assert (list(found), found["embedding"].dtype) == (["id", "text", "embedding"], "float32")
    np.testing.assert_allclose(found["embedding"], vectors, atol=1e-6)


def test_a_data_frame_keeps_its_index(presets, vectors):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    found = embedded(presets, pandas.DataFrame({"text": TEXTS}, index=[7, 8, 9]))
    assert (type(found), list(found.index)) == (pandas.DataFrame, [7, 8, 9])
    np.testing.assert_allclose(np.stack(found["embedding"]), vectors, atol=1e-6)


@pytest.mark.parametrize("kind", [pyarrow.Table, pyarrow.RecordBatch])
def test_arrow_has_lists_of_fixed_size(presets, vectors, kind):
    found = embedded(presets, kind.from_pydict({"text": TEXTS}))
    assert isinstance(found, kind)
    assert found.schema.field("embedding").type == pyarrow.list_(pyarrow.float32(), 16)
    np.testing.assert_allclose(found.column("embedding").to_pylist(), vectors, atol=1e-6)


def test_an_empty_batch_has_the_columns(presets):
    empty = pyarrow.table({"text": pyarrow.array([], pyarrow.string())})
    assert embedded(presets, empty).schema.field("embedding").type == pyarrow.list_(pyarrow.float32(), 16)
    assert BatchTask(presets / "TextClassifier", "TextClassifier")(empty).column_names == ["text", "label", "score"]


def test_other_classes_and_missing_columns_are_refused(presets):
    with pytest.raises(ArgumentError, match="batch='list', expected a dict of arrays, a pandas DataFrame"):
        embedded(presets, TEXTS)
    with pytest.raises(ArgumentError, match="columns='text', expected the name of a column of the batch: review"):
        embedded(presets, {"review": np.array(TEXTS)})


# === Tasks ===


def test_classes(presets):
    batch = pyarrow.table({"review": TEXTS})
    found = BatchTask(presets / "TextClassifier", "TextClassifier", columns="review", output="my_")(batch)
    expected = vertebra.models.TextClassifier.from_preset(presets / "TextClassifier").classify(TEXTS)
    assert found.column("my_label").to_pylist() == [answer["label"] for answer in expected]
    np.testing.assert_allclose(found.column("my_score"), [answer["score"] for answer in expected], atol=1e-6)


def test_entities(presets):
    found = BatchTask(presets / "TokenClassifier", "TokenClassifier", aggregation="none")({"text": np.array(TEXTS)})
    expected = vertebra.models.TokenClassifier.from_preset(presets / "TokenClassifier").tag(TEXTS, aggregation="none")
    assert [[entry["end"] for entry in row] for row in found["entities"]] == [
        [entry["end"] for entry in row] for row in expected
    ]


def test_pairs(presets):
    batch = {"query": np.array(["fox", "dog"]), "document": np.array(TEXTS[:2])}
    expected = vertebra.models.Reranker.from_preset(presets / "Reranker").scores(
        list(zip(*batch.values(), strict=True))
    )
    np.testing.assert_allclose(BatchTask(presets / "Reranker", "Reranker")(batch)["score"], expected, atol=1e-6)


# === Texts without an answer ===


def test_a_missing_text_is_an_error_or_an_empty_answer(presets):
    batch = pyarrow.table({"text": ["good", None, "bad"]})
    with pytest.raises(ItemError) as caught:
        embedded(presets, batch)
    assert caught.value.index == 1
    found = embedded(presets, batch, on_error="skip")
    assert np.isnan(found.column("embedding").to_pylist()).all(axis=1).tolist() == [False, True, False]
    assert [bool(error) for error in found.column("error").to_pylist()] == [False, True, False]
    task = BatchTask(presets / "TextClassifier", "TextClassifier", on_error="skip")
    assert [label is None for label in task(batch).column("label").to_pylist()] == [False, True, False]


# === Arguments ===


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"task": "MaskedLM"}, "task='MaskedLM'"),
        ({"top_k": 2}, "top_k=2, expected an option of TextEmbedder: truncate_dim, prompt_name"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"columns": ("a", "b")}, "expected the name of a column"),
        ({"task": "Reranker", "columns": "a"}, "expected the names of two columns"),
    ],
)
def test_arguments_are_checked_before_a_worker_has_them(arguments, named):
    with pytest.raises(ArgumentError, match=named):
        BatchTask("preset", **arguments)


def test_it_is_pickled_without_the_model(presets, vectors):
    task = BatchTask(presets / "TextEmbedder", truncate_dim=4)
    first = task({"text": np.array(TEXTS)})
    data = pickle.dumps(task)
    assert len(data) < 1000
    again = pickle.loads(data)
    np.testing.assert_array_equal(again({"text": np.array(TEXTS)})["embedding"], first["embedding"])
    np.testing.assert_allclose(first["embedding"], vectors[:, :4], atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*initialised randomly")
def test_a_preset_without_the_head_is_refused(presets):
    with pytest.raises(WeightsMismatchError, match="it has no trained head for Reranker"):
        BatchTask(presets / "TextEmbedder", "Reranker").task  # noqa: B018


def test_weights_are_shared_unless_copies_are_allowed(presets):
    """Copies for faster kernels are private memory of a worker."""
    assert not BatchTask(presets / "TextEmbedder").task.inference.packs_weights
    assert BatchTask(presets / "TextEmbedder", share_weights=False).task.inference.packs_weights


# === Spark and Daft ===


def on_the_page(word):
    (block,) = (block for block in code("how-to/batch-on-a-cluster.md") if word in block)
    return block


def test_the_function_for_spark(presets, vectors):
    predict = BatchTask(presets / "TextEmbedder").predict_function()
    np.testing.assert_allclose(predict(np.array(TEXTS, object)), vectors, atol=1e-6)
    scores = BatchTask(presets / "TextClassifier", "TextClassifier").predict_function()(np.array(TEXTS, object))
    assert (list(scores), len(scores["score"])) == (["label", "score"], 3)


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_user_defined_function_of_spark(presets, vectors, monkeypatch):
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        values = {"frame": spark.createDataFrame([(text,) for text in TEXTS], ["text"])}
        exec(on_the_page("predict_batch_udf").replace("hf://owner/name", str(presets / "TextEmbedder")), values)
        found = [row.embedding for row in values["vectors"].collect()]
    finally:
        spark.stop()
    np.testing.assert_allclose(found, vectors, atol=1e-6)


def test_a_class_of_daft(presets, vectors):
    daft = pytest.importorskip("daft", reason="daft is not installed")

    block = on_the_page("@daft.cls").replace("hf://owner/name", str(presets / "TextEmbedder")).replace("384", "16")
    values = {"frame": daft.from_pydict({"text": TEXTS})}
    exec(block, values)
    np.testing.assert_allclose(values["vectors"].to_pydict()["embedding"], vectors, atol=1e-6)
