# In Colab: fetch the project and install it beside Colab's own packages.
# Anywhere else this cell does nothing.
import importlib.util, pathlib, subprocess, sys
ADDRESS = ""  # written by `make address URL=https://github.com/OWNER/NAME`
colab = "google.colab" in sys.modules
if ADDRESS and colab and not importlib.util.find_spec("istapp"):
    clone = ["git", "clone", "--quiet", "--depth", "1"]
    subprocess.run([*clone, ADDRESS, "istapp-book"], check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    install += ["--no-build-isolation", "--editable", "istapp-book"]
    subprocess.run(install, check=True)
    sys.path.insert(0, str(pathlib.Path("istapp-book").resolve()))
