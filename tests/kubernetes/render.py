"""Renders an overlay as `kubectl kustomize` does, holds each object to its schema, and prints them all as JSON.

    render.py FOLDER

What Kubernetes itself knows is validated strictly: an unknown field is a mistake. cert-manager's resources, which its schemas do
not know, are read by models made from cert-manager's own definitions; what is not there again when they are written was unknown.
"""

import functools
import json
import pathlib
import subprocess
import sys

import kubernetes_validate
import yaml
from cloudcoil.models import cert_manager
from kubernetes_validate import utils

# The oldest release whose API the objects need: `preStop.sleep` is on by default since then.
KUBERNETES = "1.30"


def problem(item):
    """What is wrong with an object, or None."""
    if item["apiVersion"].startswith("cert-manager.io/"):
        model = getattr(cert_manager.v1, item["kind"])
        try:
            again = model.model_validate(item).model_dump(mode="json", by_alias=True, exclude_unset=True)
        except ValueError as error:
            return str(error)
        return None if again == item else f"an unknown field: {item}, of which is known {again}"
    try:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    return None


def main(folder):
    # The same definitions are read for every object.
    utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)
    kubectl = pathlib.Path(sys.executable).with_name("kubectl")
    rendered = subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True).stdout
    items = list(yaml.safe_load_all(rendered))
    wrong = [(item, text) for item in items if (text := problem(item))]
    for item, text in wrong:
        print(f"{folder}: {item['kind']} {item['metadata']['name']}: {text}", file=sys.stderr)
    json.dump(items, sys.stdout)
    return 1 if wrong else 0


sys.exit(main(sys.argv[1]))
