"""Programs that run under torchrun or DeepSpeed and know nothing of Dagster but its pipes."""
