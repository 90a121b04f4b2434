# In Colab: fetch the project and install it beside Colab's own packages. Anywhere else this cell does nothing.
import importlib.util, pathlib, subprocess, sys
ADDRESS = ""  # written by `make address URL=https://github.com/OWNER/NAME`
if ADDRESS and "google.colab" in sys.modules and not importlib.util.find_spec("istapp"):
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", ADDRESS, "istapp-book"], check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--editable", "istapp-book"], check=True)
    sys.path.insert(0, str(pathlib.Path("istapp-book").resolve()))
