"""Packaging: metadata and entry points live here, tool settings in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "swift/__init__.py").read_text()).group(1)

setup(
    name="swift",
    version=VERSION,
    description="OpenStack-Swift-compatible object store, fast and easy to start",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["swift", "swift.*"]),
    scripts=sorted(
        str(p.relative_to(HERE))
        for p in (HERE / "bin").iterdir()
        if p.is_file() and p.name.startswith("swift-")
    ),
    data_files=[  # beside the library: what an operator starts from
        ("share/swift", sorted(str(p.relative_to(HERE)) for p in HERE.glob("etc/*.conf-sample"))),
        ("share/swift/systemd", sorted(str(p.relative_to(HERE)) for p in HERE.glob("etc/systemd/*"))),
    ],
    install_requires=[
        "eventlet>=0.36",
        "greenlet>=3.0",
        "WebOb>=1.8.8",
        "xattr>=1.0",
        "sqlite-utils>=3.36",
        "netifaces2>=0.0.22",
        "pyeclib>=1.6.4",
        "isal>=1.6",
        "PasteDeploy>=3.1",
        "dnspython>=2.3",
        "numpy>=1.24",
        "cryptography>=43",
        "prometheus-client>=0.17",
        "orjson>=3.9",
        "lxml>=4.9",
        "rich>=13",
        "python-swiftclient>=4.4",
    ],
    extras_require={
        "kms": ["castellan>=4.0"],
        "kmip": ["pykmip>=0.11"],
        "keystone": ["keystonemiddleware>=10"],
        "kafka": ["confluent-kafka>=2.3"],
        "amqp": ["kombu>=5.3"],
        "test": [
            "pytest>=7.4",
            "hypothesis>=6.80",
            "pytest-xdist>=3.3",
            "h11>=0.14",
            "castellan>=4.0",
            "pykmip>=0.11",
            "confluent-kafka>=2.3",
            "kombu>=5.3",
            "boto3>=1.34",
            "requests>=2.28",
            "lxml-stubs>=0.5",
            "ruff==0.17.6",
            "mypy>=1.8",
            "import-linter>=2.0",
        ],
    },
    entry_points={
        "paste.app_factory": [
            "proxy = swift.proxy.app:app_factory",
            "account = swift.account.server:app_factory",
            "container = swift.container.server:app_factory",
            "object = swift.obj.server:app_factory",
        ],
        "swift.object_audit_watcher": ["dark_data = swift.obj.auditing.dark_data:DarkDataWatcher"],
        "paste.filter_factory": [
            "catch_errors = swift.middleware.catch_errors:filter_factory",
            "gatekeeper = swift.middleware.gatekeeper:filter_factory",
            "healthcheck = swift.middleware.healthcheck:filter_factory",
            "encryption = swift.middleware.encryption:filter_factory",
            "keymaster = swift.middleware.keymaster:filter_factory",
            "kms_keymaster = swift.middleware.kms_keymaster:filter_factory",
            "kmip_keymaster = swift.middleware.kmip_keymaster:filter_factory",
            "proxy_logging = swift.middleware.proxy_logging:filter_factory",
            "memcache = swift.middleware.memcache:filter_factory",
            "etag_quoter = swift.middleware.etag_quoter:filter_factory",
            "list_endpoints = swift.middleware.list_endpoints:filter_factory",
            "name_check = swift.middleware.name_check:filter_factory",
            "read_only = swift.middleware.read_only:filter_factory",
            "bulk = swift.middleware.bulk:filter_factory",
            "copy = swift.middleware.copy:filter_factory",
            "container_sync = swift.middleware.container_sync:filter_factory",
            "symlink = swift.middleware.symlink:filter_factory",
            "listing_formats = swift.middleware.listing_formats:filter_factory",
            "object_lock = swift.s3.object_lock.native:filter_factory",
            "s3api = swift.s3.filter:filter_factory",
            "s3token = swift.s3.token:filter_factory",
            "tempauth = swift.middleware.tempauth:filter_factory",
            "slo = swift.middleware.slo:filter_factory",
            "dlo = swift.middleware.dlo:filter_factory",
            "tempurl = swift.middleware.tempurl:filter_factory",
            "formpost = swift.middleware.formpost:filter_factory",
            "staticweb = swift.middleware.staticweb:filter_factory",
            "keystoneauth = swift.middleware.keystoneauth:filter_factory",
            "crossdomain = swift.middleware.crossdomain:filter_factory",
            "domain_remap = swift.middleware.domain_remap:filter_factory",
            "cname_lookup = swift.middleware.cname_lookup:filter_factory",
            "recon = swift.middleware.recon:filter_factory",
            "container_quotas = swift.middleware.container_quotas:filter_factory",
            "account_quotas = swift.middleware.account_quotas:filter_factory",
            "ratelimit = swift.middleware.ratelimit:filter_factory",
            "backend_ratelimit = swift.middleware.backend_ratelimit:filter_factory",
            "versioned_writes = swift.middleware.versioned_writes:filter_factory",
        ],
    },
)
