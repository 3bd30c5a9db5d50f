import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

# what is started here must be stoppable by HUP also when the tests run under nohup
signal.signal(signal.SIGHUP, signal.SIG_DFL)
