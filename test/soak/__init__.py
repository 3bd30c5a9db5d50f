"""A cluster under mixed traffic for hours, reloaded and with rings that change, whose processes must not grow."""
