"""What lies outside the code: the lake, source files, vectors, people, judges, the trainer."""
