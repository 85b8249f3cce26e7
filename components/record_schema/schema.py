"""What the records of a data set must be, in TensorFlow Data Validation's words."""

from collections.abc import Iterable

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from model_patching.data.dataset import EXAMPLE_ID, IMAGE, LABEL, SUBGROUP, Dataset

TYPES = {
    statistics_pb2.FeatureNameStatistics.INT: schema_pb2.INT,
    statistics_pb2.FeatureNameStatistics.FLOAT: schema_pb2.FLOAT,
    statistics_pb2.FeatureNameStatistics.STRING: schema_pb2.BYTES,
    statistics_pb2.FeatureNameStatistics.BYTES: schema_pb2.BYTES,
    statistics_pb2.FeatureNameStatistics.STRUCT: schema_pb2.STRUCT,
}


def record_schema(
    dataset: Dataset, statistics: Iterable[statistics_pb2.DatasetFeatureStatisticsList]
) -> schema_pb2.Schema:
    """The schema of a data set's records.

    The features that make a record are there once in each, of their type and within the data set's classes and
    subgroups. Others may be in the records as well: they are described, and nothing is asked of them.

    Args:
        dataset: says how many classes and subgroups there are.
        statistics: of each split; say which other features there are.
    """
    schema = schema_pb2.Schema()
    for name, kind, domain in (
        (IMAGE, schema_pb2.BYTES, None),
        (LABEL, schema_pb2.INT, dataset.num_classes),
        (SUBGROUP, schema_pb2.INT, dataset.num_subgroups),
        (EXAMPLE_ID, schema_pb2.BYTES, None),
    ):
        feature = schema.feature.add(name=name, type=kind)
        feature.presence.min_fraction = 1.0
        feature.presence.min_count = 1
        feature.value_count.min = feature.value_count.max = 1
        if domain is not None:
            feature.int_domain.min, feature.int_domain.max = 0, domain - 1
    known = {feature.name for feature in schema.feature}
    for split in statistics:
        for found in (feature for datasets in split.datasets for feature in datasets.features):
            name = found.path.step[0]
            if name not in known:
                # Of a feature in this stage TFDV checks nothing; one that the schema doesn't have is an anomaly.
                schema.feature.add(name=name, type=TYPES[found.type], lifecycle_stage=schema_pb2.ALPHA)
                known.add(name)
    return schema
