"""The generated world with planted truth, its people and judges; everything it makes says "simulated"."""
