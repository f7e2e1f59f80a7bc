"""Passes over the training items before the student trains."""

import kdbench


def batches(trainer, epoch):
    """The training items as they are, without augmentation, in an order drawn anew for each epoch."""
    import torch

    data = trainer.train_data
    for index in torch.randperm(len(data.labels)).split(trainer.recipe.batch_size):
        if len(index) > 1 or len(data.labels) == 1:
            index = index.to(data.labels.device)
            yield kdbench.Batch(data.student[index], data.teacher[index], data.labels[index], index, 0.0, epoch)
