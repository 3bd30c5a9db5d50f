"""What is known about accounts, containers and objects, briefly remembered.

`forms` holds the forms of it, `process_cache` what one process remembers, `asking` who is asked when.
"""

from swift.middleware.info.asking import (
    asked_account,
    asked_container,
    forget_account,
    forget_container,
    get_account_info,
    get_container_info,
    get_object_info,
    remember_account,
    remember_container,
)
from swift.middleware.info.forms import Info, container_key, is_success
from swift.middleware.info.process_cache import PROCESS_CACHE, Asked

__all__ = [
    "Asked",
    "Info",
    "PROCESS_CACHE",
    "asked_account",
    "asked_container",
    "container_key",
    "forget_account",
    "forget_container",
    "get_account_info",
    "get_container_info",
    "get_object_info",
    "is_success",
    "remember_account",
    "remember_container",
]
