"""Reward-model benchmarks as pure functions over tables of rewards: no model, no file, no Dagster."""
