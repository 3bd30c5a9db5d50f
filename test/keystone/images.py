"""Images through Glance's own driver, as Glance uses it. Run by test_glance_images.py with the Python that has glance_store.

usage: images.py SETTINGS.json: prints one JSON object, scenario → "" if all was well, else what was wrong.
"""

import hashlib
import json
import os
import random
import socket
import sys
import tempfile
import threading
import traceback
import urllib.parse
import uuid
import warnings

warnings.simplefilter("ignore")

import glance_store  # noqa: E402
import requests  # noqa: E402
from keystoneauth1 import session  # noqa: E402
from keystoneauth1.identity import v3  # noqa: E402
from oslo_config import cfg  # noqa: E402

MB = 1_024_000  # Glance's
CONTAINER = "images"


class Relay:
    """A road to the store that breaks off downloads: the first ones, after so many bytes."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.cuts = []  # bytes after which the next connections end
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            store = socket.create_connection(self.target)
            threading.Thread(target=self._pump, args=(client, store, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(store, client, True), daemon=True).start()

    def _pump(self, source, target, is_answer):
        passed = 0
        try:
            while data := source.recv(65536):
                target.sendall(data)
                passed += len(data)
                if is_answer and self.cuts and passed > self.cuts[0]:
                    self.cuts.pop(0)
                    break
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Source:
    """An image as Glance reads it; `fails_at`: the byte at which reading raises."""

    def __init__(self, data, fails_at=None):
        self.data, self.at, self.fails_at = data, 0, fails_at

    def read(self, size=-1):
        if self.fails_at is not None and self.at >= self.fails_at:
            raise OSError("the source broke")
        end = len(self.data) if size is None or size < 0 else self.at + size
        found = self.data[self.at : end]
        self.at += len(found)
        return found


class Owner:
    """In whose account images are: Glance's user, or the one who is asked for (multi tenant)."""

    def __init__(self, keystone, user, project):
        self.auth = v3.Password(
            auth_url=keystone, username=user, password=f"{user}-secret", project_name=project,
            user_domain_id="default", project_domain_id="default",
        )  # fmt: skip
        self.ref = self.auth.get_auth_ref(session.Session(self.auth))
        self.url = self.ref.service_catalog.url_for(service_type="object-store", interface="public")

    def ask(self, method, path="", url=None, **options):
        headers = {"X-Auth-Token": self.ref.auth_token, **options.pop("headers", {})}
        return requests.request(method, (url or self.url) + path, headers=headers, timeout=60, **options)

    def objects(self, container):
        answer = self.ask("GET", f"/{container}?format=json")
        return [row["name"] for row in answer.json()] if answer.status_code == 200 else []

    def context(self):
        """What the driver asks of a request's context in Glance."""
        context = type("Context", (), {})()
        context.auth_token, context.user_id = self.ref.auth_token, self.ref.user_id
        context.project_id = context.tenant = self.ref.project_id
        context.service_catalog = [
            {
                "type": service["type"],
                "name": service["name"],
                "endpoints": [{"region": end["region"], f"{end['interface']}URL": end["url"]} for end in service["endpoints"]],
            }
            for service in self.ref.service_catalog.catalog
        ]  # fmt: skip
        return context


class Images:
    def __init__(self, settings, folder):
        self.keystone = f"{settings['keystone']}/v3"
        self.segment = settings["segment"] * MB
        self.folder = folder
        self.glance, self.ann, self.dan = (
            Owner(self.keystone, *who) for who in (("glance", "service"), ("ann", "red"), ("dan", "blue"))
        )
        self.relay = Relay(settings["store"])
        source = random.Random(7)
        parts = [source.randbytes(MB) for _ in range(settings["megabytes"])]
        self.data = b"".join([*parts, source.randbytes(12345)])
        self.conf = self._configure(settings)

    def _configure(self, settings):
        reference = os.path.join(self.folder, "references.conf")
        with open(reference, "w") as f:
            f.write(
                f"[ref1]\nuser = service:glance\nkey = glance-secret\nauth_version = 3\nauth_address = {self.keystone}\n"
                "user_domain_id = default\nproject_domain_id = default\n"
            )
        common = (
            f"swift_store_container = {CONTAINER}\nswift_store_create_container_on_put = True\nswift_store_large_object_size = {settings['segment']}\n"
            f"swift_store_large_object_chunk_size = {settings['segment']}\nswift_store_endpoint_type = publicURL\nswift_store_retry_get_count = 5\n"
            "default_swift_reference = ref1\n"
        )
        by_relay = self.glance.url.replace(f":{self.relay.target[1]}", f":{self.relay.port}")
        sections = {
            "single": f"swift_store_config_file = {reference}",
            "buffered": f"swift_store_config_file = {reference}\nswift_buffer_on_upload = True\nswift_upload_buffer_dir = {self.folder}",
            "relayed": f"swift_store_config_file = {reference}\nswift_store_endpoint = {by_relay}",
            "multi": f"swift_store_multi_tenant = True\nswift_store_use_trusts = True\nswift_store_auth_version = 3\nswift_store_auth_address = {self.keystone}\nswift_store_user = service:glance\nswift_store_key = glance-secret",
        }
        path = os.path.join(self.folder, "glance.conf")
        with open(path, "w") as f:
            f.write(f"[DEFAULT]\nenabled_backends = {', '.join(f'{name}:swift' for name in sections)}\n")
            f.write("[glance_store]\ndefault_backend = single\n")
            for name, lines in sections.items():
                f.write(f"[{name}]\n{common}{lines}\n")
        conf = cfg.CONF
        conf.register_opt(cfg.DictOpt("enabled_backends"))  # one of Glance's own
        conf([], project="glance", default_config_files=[path])
        glance_store.register_store_opts(conf)
        glance_store.create_multi_stores(conf)
        glance_store.verify_store()
        return conf

    # -- what Glance does ------------------------------------------------------------------------------------------------

    def add(self, backend, data, size, source=None):
        """(id, location) of a new image."""
        name = str(uuid.uuid4())
        location, kept, checksum, digest, _ = glance_store.add_with_multihash(
            self.conf, name, source or Source(data), size, backend, "sha256", context=self.context(backend)
        )
        assert kept == len(data), f"{kept} bytes"
        assert checksum == hashlib.md5(data).hexdigest(), "checksum"
        assert digest == hashlib.sha256(data).hexdigest(), "digest"
        assert "secret" not in location, "a password in the location"
        return name, location

    def context(self, backend):
        return self.ann.context() if backend == "multi" else None

    def owner(self, backend):
        return self.ann if backend == "multi" else self.glance

    def container(self, backend, name):
        return f"{CONTAINER}_{name}" if backend == "multi" else CONTAINER

    def read(self, backend, location):
        chunks, size = glance_store.get(location, backend, context=self.context(backend))
        digest = hashlib.md5()
        for chunk in chunks:
            digest.update(chunk)
        return digest.hexdigest(), size

    def left(self, backend, name):
        found = self.owner(backend).objects(self.container(backend, name))
        return [entry for entry in found if entry.startswith(name)]

    # -- scenarios -------------------------------------------------------------------------------------------------------

    def stored_read_and_deleted(self, backend, length, known):
        data = self.data[:length] if length else self.data
        name, location = self.add(backend, data, len(data) if known else 0)
        assert self.read(backend, location) == (hashlib.md5(data).hexdigest(), len(data)), (
            "not what was stored"
        )
        context = self.context(backend)
        assert glance_store.get_size_from_uri_and_backend(location, backend, context=context) == len(data), (
            "size"
        )
        owner, path = self.owner(backend), f"/{self.container(backend, name)}/{name}"
        head = owner.ask("HEAD", path)
        assert head.headers["content-length"] == str(len(data)), head.headers
        segments = [entry for entry in self.left(backend, name) if entry != name]
        if len(data) <= self.segment:
            assert segments == [], segments
        else:
            assert len(segments) == -(-len(data) // self.segment), segments
            manifest = urllib.parse.unquote(head.headers["x-object-manifest"])
            assert manifest == f"{self.container(backend, name)}/{name}-", manifest
            for first, last in ((0, 9), (self.segment - 5, self.segment + 4), (len(data) - 7, len(data) - 1)):
                part = owner.ask("GET", path, headers={"Range": f"bytes={first}-{last}"})
                assert (part.status_code, part.content) == (206, data[first : last + 1]), (
                    first,
                    part.status_code,
                )
        glance_store.delete(location, backend, context=context)
        assert self.left(backend, name) == [], self.left(backend, name)
        if backend == "multi":
            assert owner.ask("HEAD", f"/{self.container(backend, name)}").status_code == 404, (
                "the container is left"
            )
        try:
            self.read(backend, location)
        except glance_store.exceptions.NotFound:
            return
        raise AssertionError("it can still be read")

    def nothing_left_of_a_failure(self, backend, fails_at):
        name = str(uuid.uuid4())
        try:
            glance_store.add_with_multihash(
                self.conf,
                name,
                Source(self.data, fails_at),
                0,
                backend,
                "sha256",
                context=self.context(backend),
            )
        except Exception:
            left = self.left(backend, name)
            assert left == [], left
            return
        raise AssertionError("no error")

    def resumed(self):
        """The connection breaks twice in the middle: Glance goes on where it was."""
        name, location = self.add("relayed", self.data, 0)
        self.relay.cuts = [self.segment + self.segment // 2, self.segment // 3]
        assert self.read("relayed", location)[0] == hashlib.md5(self.data).hexdigest(), "not what was stored"
        assert self.relay.cuts == [], "nothing was cut"
        glance_store.delete(location, "relayed")
        assert self.left("relayed", name) == [], "something is left"

    def shared(self):
        """An image of ann's, for dan's project, for all, and for nobody any more."""
        data = self.data[: self.segment + 5]
        name, location = self.add("multi", data, 0)
        context, path = self.ann.context(), f"/{self.container('multi', name)}/{name}"

        def statuses():
            with_token = self.dan.ask("GET", path, url=self.ann.url).status_code
            return with_token, requests.get(self.ann.url + path, timeout=60).status_code

        assert statuses() == (403, 401), statuses()
        for shares, wanted in (
            ({"read_tenants": [self.dan.ref.project_id]}, (200, 401)),
            ({"public": True}, (200, 401)),
            ({"public": False}, (403, 401)),
        ):
            glance_store.set_acls_for_multi_store(
                location, "multi", context=context, **{"public": False, **shares}
            )
            assert statuses() == wanted, (shares, statuses())
        glance_store.delete(location, "multi", context=context)
        assert self.left("multi", name) == [], "something is left"

    def trusted(self):
        """A long upload goes on with a trust when the user's own token is out of date."""
        name, location = self.add("multi", self.data[: self.segment], 0)
        context = self.ann.context()
        store = glance_store.get_store_from_store_identifier("multi")
        with store.get_manager(
            store.create_location(name, context=context), context, allow_reauth=True
        ) as manager:
            assert manager.client.session.auth.auth_ref.trust_id, "no trust is used"
            token = manager.client.session.get_token()
            answer = requests.head(
                f"{self.ann.url}/{CONTAINER}_{name}/{name}", headers={"X-Auth-Token": token}, timeout=60
            )
            assert answer.status_code == 200, answer.status_code
        glance_store.delete(location, "multi", context=context)

    def scenarios(self):
        odd, whole = 0, 3 * self.segment
        for backend in ("single", "buffered", "multi"):
            for label, length, known in (
                ("small", self.segment - 1, True),
                ("whole segments", whole, True),
                ("size unknown", odd, False),
                ("size unknown, whole segments", whole, False),
            ):
                yield (
                    f"{backend}: {label}",
                    lambda b=backend, n=length, k=known: self.stored_read_and_deleted(b, n, k),
                )
            yield (
                f"{backend}: fails at once",
                lambda b=backend: self.nothing_left_of_a_failure(b, self.segment // 2),
            )
            if backend != "buffered":  # its own fault: it leaves the earlier segments
                yield (
                    f"{backend}: fails later",
                    lambda b=backend: self.nothing_left_of_a_failure(b, self.segment + self.segment // 2),
                )
        yield "resumed", self.resumed
        yield "shared", self.shared
        yield "trusted", self.trusted


def main():
    with open(sys.argv[1]) as f:
        settings = json.load(f)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, scenario in Images(settings, folder).scenarios():
            if name not in settings["only"]:
                continue
            try:
                scenario()
                results[name] = ""
            except Exception:
                results[name] = traceback.format_exc()[-2000:]
    print(json.dumps(results))


main()
