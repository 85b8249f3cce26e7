"""The smallest run of the whole pipeline: CAMEL, a CycleGANTrainer for each class, a gate on the last blessed model."""

import dataclasses
from pathlib import Path

# To be formatted with `records`, the folder.
TOY = """
data:
  records: {records}
  dataset: {{classes: [left, right], subgroups: [plain, square], image_shape: [12, 12, 1]}}
translation:
  per_class: true
  generator_filters: [4, 8]
  discriminator_filters: [4, 8]
  steps: 40
  batch_size: 4
  checkpoint_every: 2
  diagnose_every: 20
  sheet_every: 20
  probe: {{filters: [4], steps: 10, batch_size: 4}}
training: {{method: camel, epochs: 6, steps_per_epoch: 5, batch_size: 8, selection: last}}
evaluation: {{baseline: last_blessed, max_worst_group_drop: 0.1}}
"""


def write_toy_records(folder: Path, toy_records, write_records, swapped: bool = False) -> Path:
    """Writes its records, whose classes can be swapped in what is learned from; returns the folder."""
    for seed, split in enumerate(("train", "validation", "test")):
        found = toy_records([[30, 10], [10, 30]], (12, 12, 1), seed=seed)
        if swapped and split != "test":
            found = [dataclasses.replace(record, label=1 - record.label) for record in found]
        write_records(folder / split / "data-00000-of-00001.tfrecord.gz", found)
    return folder
