"""The schema, held against the statistics of good and bad records by TFDV itself."""

import tfx  # noqa: F401, I001 - before everything that imports tensorflow_data_validation

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from model_patching.components.record_schema.schema import record_schema

GOOD = {"image": b"\xff\xd8", "label": 2, "subgroup": 1, "example_id": b"a"}


def statistics(*records):
    """TFDV's statistics of records, each a mapping of features to a value or a list."""
    serialized = []
    for record in records:
        example = tf.train.Example()
        for name, value in record.items():
            values = value if isinstance(value, list) else [value]
            kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[type(values[0])]
            getattr(example.features.feature[name], kind).value.extend(values)
        serialized.append(example.SerializeToString())
    return stats_impl.generate_statistics_in_memory(ExamplesToRecordBatchDecoder().DecodeBatch(serialized))


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("bad", "anomalies"),
    [
        (GOOD, {}),
        (GOOD | {"label": 0, "subgroup": 0}, {}),
        (GOOD | {"label": 3}, {"label": "Unexpectedly large value: 3."}),
        (GOOD | {"label": -1}, {"label": "Unexpectedly small value: -1."}),
        (GOOD | {"subgroup": 2}, {"subgroup": "Unexpectedly large value: 2."}),
        (GOOD | {"label": [0, 1]}, {"label": "Some examples have more values than expected."}),
        (
            without("image"),
            {
                "image": "The feature was present in fewer examples than expected: "
                "minimum fraction = 1.000000, actual = 0.500000"
            },
        ),
    ],
)
def test_a_bad_record_is_an_anomaly(make_dataset, bad, anomalies):
    found = statistics(GOOD, bad)
    schema = record_schema(make_dataset(3, 2), [found])
    information = tfdv.validate_statistics(found, schema).anomaly_info
    assert {name: info.description for name, info in information.items()} == anomalies


def test_a_feature_of_another_type_is_an_anomaly(make_dataset):
    found = statistics(GOOD | {"label": 1.0, "example_id": 7})
    schema = record_schema(make_dataset(3, 2), [found])
    information = tfdv.validate_statistics(found, schema).anomaly_info
    assert {name: info.description for name, info in information.items()} == {
        "label": "Expected data of type: INT but got FLOAT",
        "example_id": "Expected data of type: BYTES but got INT",
    }


def test_other_features_are_described_and_may_be_anything(make_dataset):
    splits = [
        statistics(GOOD | {"age": 3, "name": b"x"}, GOOD),
        statistics(GOOD | {"age": 0.5, "sizes": [1.0, 2.0]}, GOOD),
    ]
    schema = record_schema(make_dataset(3, 2), splits)
    types = {feature.name: feature.type for feature in schema.feature}
    assert types == {
        "image": schema_pb2.BYTES,
        "label": schema_pb2.INT,
        "subgroup": schema_pb2.INT,
        "example_id": schema_pb2.BYTES,
        "age": schema_pb2.INT,
        "name": schema_pb2.BYTES,
        "sizes": schema_pb2.FLOAT,
    }
    for split in splits:
        assert not tfdv.validate_statistics(split, schema).anomaly_info
