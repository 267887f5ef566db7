"""One side of the comparison: a process that obeys commands, as `ours.c` describes them."""

import json
import subprocess


class Unavailable(Exception):
    """This side can't do that."""


class Side:
    """A started process. `command` is its command line, `environment` its whole environment."""

    def __init__(self, name, command, environment):
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
        )

    def __call__(self, *command):
        """Gives a command and waits for its answer."""
        self.process.stdin.write(" ".join(map(str, command)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()} at: {command}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()
