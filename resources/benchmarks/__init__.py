"""Reward-model benchmarks as files, published scores, and rewards for their responses."""
