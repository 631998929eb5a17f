"""Run by tests in a process of its own: a model answers with little memory left.

`python tests/little_memory.py ENGINE FOLDER MIB`: prints the replies as JSON. MIB is what may be
taken beyond what the loaded model has; 0 sets no limit.
"""

import json
import resource
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

if __name__ == "__main__":
    from test_decoding import ask, embedded

    from agents.base import Message

    engine, folder, mib = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    batch = {"rows": 512, "tokens": 1_000_000, "decode_mib": 100_000, "cache_mib": 64}
    how = {"batch": batch, "max_tokens": 8}
    if engine == "onnx":
        backend = embedded(folder, **how)
    else:
        from test_transformers import served

        backend = served(folder, **how)
    ask(backend, [Message("user", "Hello", None)])  # what is made at the first call is there
    if mib:
        status = Path("/proc/self/status").read_text()
        now = int(status.partition("VmSize:")[2].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (now + mib * 2**20, resource.RLIM_INFINITY))
    told = [Message("user", f"{i}. Which one do you choose? " * 16, None) for i in range(512)]
    print(json.dumps([reply.text for reply in ask(backend, told)]))
