"""Fields of kinds that others define, for what the chart and its examples use of them.

Written from the published field lists of CloudNativePG, cert-manager, the Gateway API, the
Prometheus operator, the cluster autoscaler and NATS's own chart (from 1.0 on). Where fields are
listed, whatever is not there is a typo, or is to be looked up and added.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

Shape = Any
"""A JSON type's name, ``any``, a set of allowed words, ``[shape]`` for a list of it, or a mapping
of fields to shapes: ``!`` ends the name of one that must be there, ``*`` stands for any name."""

NAME: Shape = {"name!": "string"}
LABELS: Shape = {"*": "string"}
SELECTOR: Shape = {"matchLabels": LABELS, "matchExpressions": ["any"]}

POSTGRES_ROLE: Shape = {
    "name!": "string",
    "ensure": {"present", "absent"},
    "comment": "string",
    "passwordSecret": NAME,
    "disablePassword": "boolean",
    "connectionLimit": "integer",
    "validUntil": "string",
    "inRoles": ["string"],
    "inherit": "boolean",
    "login": "boolean",
    "superuser": "boolean",
    "createdb": "boolean",
    "createrole": "boolean",
    "replication": "boolean",
    "bypassrls": "boolean",
}
INITDB: Shape = {
    "database": "string",
    "owner": "string",
    "secret": NAME,
    "encoding": "string",
    "dataChecksums": "boolean",
    "localeProvider": "string",
    "postInitSQL": ["string"],
    "postInitApplicationSQL": ["string"],
    "postInitTemplateSQL": ["string"],
    "postInitSQLRefs": "any",
    "postInitApplicationSQLRefs": "any",
    "postInitTemplateSQLRefs": "any",
}
STORAGE: Shape = {
    "size": "string",
    "storageClass": "string",
    "resizeInUseVolumes": "boolean",
    "pvcTemplate": "any",
}
POSTGRES: Shape = {
    "instances!": "integer",
    "imageName": "string",
    "imageCatalogRef": "any",
    "imagePullSecrets": [NAME],
    "storage!": STORAGE,
    "walStorage": STORAGE,
    "enableSuperuserAccess": "boolean",
    "superuserSecret": NAME,
    "certificates": {
        "serverCASecret": "string",
        "serverTLSSecret": "string",
        "clientCASecret": "string",
        "replicationTLSSecret": "string",
        "serverAltDNSNames": ["string"],
    },
    "bootstrap": {"initdb": INITDB, "recovery": "any", "pg_basebackup": "any"},
    "postgresql": {
        "parameters": LABELS,
        "pg_hba": ["string"],
        "pg_ident": ["string"],
        "shared_preload_libraries": ["string"],
        "synchronous": {
            "method!": {"any", "first"},
            "number!": "integer",
            "maxStandbyNamesFromCluster": "integer",
            "standbyNamesPre": ["string"],
            "standbyNamesPost": ["string"],
            "dataDurability": {"required", "preferred"},
        },
    },
    "managed": {"roles": [POSTGRES_ROLE], "services": "any"},
    "resources": "any",
    "affinity": "any",
    "backup": "any",
    "plugins": ["any"],
    "monitoring": "any",
    "primaryUpdateStrategy": {"unsupervised", "supervised"},
}
CERTIFICATE: Shape = {
    "secretName!": "string",
    "issuerRef!": {"name!": "string", "kind": {"Issuer", "ClusterIssuer"}, "group": "string"},
    "isCA": "boolean",
    "commonName": "string",
    "dnsNames": ["string"],
    "ipAddresses": ["string"],
    "duration": "string",
    "renewBefore": "string",
    "revisionHistoryLimit": "integer",
    "privateKey": {
        "algorithm": {"RSA", "ECDSA", "Ed25519"},
        "encoding": {"PKCS1", "PKCS8"},
        "size": "integer",
        "rotationPolicy": {"Never", "Always"},
    },
    "additionalOutputFormats": [{"type!": {"CombinedPEM", "DER"}}],
    "usages": ["string"],
    "secretTemplate": {"annotations": LABELS, "labels": LABELS},
}
GRPC_ROUTE: Shape = {
    "parentRefs": [
        {
            "name!": "string",
            "namespace": "string",
            "group": "string",
            "kind": "string",
            "sectionName": "string",
            "port": "integer",
        }
    ],
    "hostnames": ["string"],
    "rules": [
        {
            "name": "string",
            "matches": [
                {
                    "method": {
                        "type": {"Exact", "RegularExpression"},
                        "service": "string",
                        "method": "string",
                    },
                    "headers": ["any"],
                }
            ],
            "filters": ["any"],
            "backendRefs": [
                {
                    "name!": "string",
                    "namespace": "string",
                    "group": "string",
                    "kind": "string",
                    "port": "integer",
                    "weight": "integer",
                    "filters": ["any"],
                }
            ],
        }
    ],
}
ENDPOINT: Shape = {
    "port": "string",
    "path": "string",
    "scheme": {"http", "https"},
    "interval": "string",
    "scrapeTimeout": "string",
    "honorLabels": "boolean",
    "relabelings": [
        {
            "sourceLabels": ["string"],
            "separator": "string",
            "targetLabel": "string",
            "regex": "string",
            "modulus": "integer",
            "replacement": "string",
            "action": "string",
        }
    ],
    "metricRelabelings": ["any"],
}
RULE: Shape = {
    "alert": "string",
    "record": "string",
    "expr!": "string",
    "for": "string",
    "keep_firing_for": "string",
    "labels": LABELS,
    "annotations": LABELS,
}

SPECS: Mapping[tuple[str, str], Shape] = {
    ("postgresql.cnpg.io/v1", "Cluster"): POSTGRES,
    ("cert-manager.io/v1", "Certificate"): CERTIFICATE,
    ("cert-manager.io/v1", "Issuer"): {
        "selfSigned": {"crlDistributionPoints": ["string"]},
        "ca": {"secretName!": "string", "crlDistributionPoints": ["string"]},
        "acme": "any",
        "vault": "any",
        "venafi": "any",
    },
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): GRPC_ROUTE,
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "selector!": SELECTOR,
        "namespaceSelector": "any",
        "jobLabel": "string",
        "podTargetLabels": ["string"],
        "podMetricsEndpoints": [ENDPOINT],
    },
    ("monitoring.coreos.com/v1", "PrometheusRule"): {
        "groups": [{"name!": "string", "interval": "string", "labels": LABELS, "rules": [RULE]}]
    },
    ("autoscaling.x-k8s.io/v1beta1", "CapacityBuffer"): {
        "provisioningStrategy": "string",
        "podTemplateRef": NAME,
        "scalableRef": {"apiGroup": "string", "kind!": "string", "name!": "string"},
        "replicas": "integer",
        "percentage": "integer",
        "limits": "any",
    },
}

# Most parts of NATS's chart also take `merge` and `patch`, which change what it makes of them.
_PATCH: Shape = {"merge": "any", "patch": ["any"]}
_TLS: Shape = {
    "enabled": "boolean",
    "secretName": "string",
    "dir": "string",
    "cert": "string",
    "key": "string",
    **_PATCH,
}
NATS_VALUES: Shape = {
    "nameOverride": "string",
    "fullnameOverride": "string",
    "namespaceOverride": "string",
    "global": "any",
    "tlsCA": {
        "enabled": "boolean",
        "configMapName": "string",
        "secretName": "string",
        "dir": "string",
        "key": "string",
    },
    "config": {
        "cluster": {
            "enabled": "boolean",
            "port": "integer",
            "replicas": "integer",
            "routeURLs": "any",
            "tls": _TLS,
            **_PATCH,
        },
        "jetstream": {
            "enabled": "boolean",
            "fileStore": {
                "enabled": "boolean",
                "dir": "string",
                "pvc": {
                    "enabled": "boolean",
                    "size": "string",
                    "storageClassName": "string",
                    "name": "string",
                    **_PATCH,
                },
                "maxSize": "string",
            },
            "memoryStore": {"enabled": "boolean", "maxSize": "string"},
            **_PATCH,
        },
        "nats": {"port": "integer", "tls": _TLS},
        "leafnodes": "any",
        "websocket": "any",
        "mqtt": "any",
        "gateway": "any",
        "monitor": {"enabled": "boolean", "port": "integer", "tls": "any"},
        "profiling": "any",
        "resolver": "any",
        "serverNamePrefix": "string",
        **_PATCH,
    },
    "container": {
        "image": "any",
        "ports": "any",
        "env": {"*": "any"},
        **_PATCH,
    },
    "reloader": "any",
    "promExporter": "any",
    "service": "any",
    "statefulSet": _PATCH,
    "podTemplate": "any",
    "headlessService": _PATCH,
    "configMap": _PATCH,
    "podDisruptionBudget": "any",
    "serviceAccount": "any",
    "natsBox": "any",
    "extraResources": ["any"],
}


def find_problems(manifest: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with an object of one of the kinds, each with its place."""
    shape = SPECS[manifest["apiVersion"], manifest["kind"]]
    head = {"name!": "string", "namespace": "string", "labels": LABELS, "annotations": LABELS}
    whole = {"apiVersion!": "string", "kind!": "string", "metadata!": head, "spec!": shape}
    return list(_problems(manifest, whole))


def find_problems_of_nats(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with values for NATS's chart, each with its place."""
    return list(_problems(values, NATS_VALUES))


def _problems(value: Any, shape: Shape) -> Iterator[str]:
    for error in jsonschema.Draft202012Validator(_schema(shape)).iter_errors(value):
        yield f"{error.json_path}: {error.message}"


def _schema(shape: Shape) -> dict[str, Any]:
    match shape:
        case "any":
            return {}
        case str():
            return {"type": shape}
        case set():
            return {"enum": sorted(shape)}
        case [item]:
            return {"type": "array", "items": _schema(item)}
    fields = {name.removesuffix("!"): _schema(part) for name, part in shape.items()}
    rest = fields.pop("*", False)
    return {
        "type": "object",
        "properties": fields,
        "required": [name.removesuffix("!") for name in shape if name.endswith("!")],
        "additionalProperties": rest,
    }
