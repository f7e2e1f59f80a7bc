"""Passes over the training items before the student trains."""

import kdbench


def batches(trainer, epoch):
    """The training items as they are, without augmentation, in an order drawn anew for each epoch."""
    import torch

    data, size = trainer.train_data, trainer.recipe.batch_size
    for index in torch.randperm(len(data.labels)).split(size):
        if len(index) > 1 or min(size, len(data.labels)) == 1:
            index = index.to(data.labels.device)
            yield kdbench.Batch(data.student[index], data.teacher[index], data.labels[index], index, 0.0, epoch)
