"""A cluster whose proxy has more filters than the default one."""

from __future__ import annotations

import re

from test.cluster import Cluster


class Filtered(Cluster):
    def add(self, name: str, before: str, options: str = "") -> None:
        """Put a filter in front of another one (of the last of that name), unless it is there; to be called after write()."""
        conf = self.layout.proxy_conf
        text = conf.read_text()
        found = re.search(r"(?m)^pipeline = (.*)$", text)
        assert found
        names = found[1].split()
        if name not in names:
            at = len(names) - 1 - names[::-1].index(before)
            names.insert(at, name)
            text = text.replace(found[0], f"pipeline = {' '.join(names)}")
        if f"[filter:{name}]" not in text:
            text += f"\n[filter:{name}]\nuse = egg:swift#{name}\n"
        if options:
            text = text.replace(f"[filter:{name}]\n", f"[filter:{name}]\n{options}\n")
        conf.write_text(text)
