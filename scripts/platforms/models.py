"""The schema of secrets.yaml: what a platform of each type may say, and the whole file as an editor checks it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from scripts.platforms.credentials import CREDENTIALS, NOTHING, Connections, Secret, Strict
from scripts.platforms.fields import (
    EnvironmentName,
    Extra,
    Flag,
    Host,
    HostKey,
    Id,
    Lines,
    Port,
    Registry,
    Slots,
    Text,
    Url,
    User,
)

DEFAULT_SLOTS = 8


class Platform(Strict):
    """What every platform may say."""

    type: str
    key: Text = Field("", description="Name of the credentials in connections.<type>")
    id: Id = Field("", description="Connection id in Airflow; without it <group>-<name>")
    pool: Slots = Field(DEFAULT_SLOTS, description="Slots of its pool: how many logins at a time")
    tags: list[Text] = Field([], description="Words to find it by")
    description: Text = Field("", description="What it is for, as Airflow shows it")
    extra: dict[str, Any] = Field({}, description="More keys for the connection's extra in Airflow")


class Batch(Platform):
    """What a machine with a batch system may say of itself."""

    scheduler: Literal["slurm"] = Field("slurm", description="Its batch system")
    account: Text = Field("", description="Project that pays for the jobs")
    partition: Text = Field("", description="Partition (queue) that jobs take by default")
    scratch: Text = Field("", description="Folder for job files, on a disk that all nodes share")
    preamble: Lines = Field("", description="Shell lines before each job's own, such as `module load`")
    environment: dict[EnvironmentName, Lines] = Field({}, description="Variables for each job")
    transport: Literal["ssh", "firecrest"] = Field("ssh", description="How jobs are submitted")


class Ssh(Batch):
    """A machine to log in to, or to copy files to and from."""

    type: Literal["ssh", "sftp"]
    address: Host = Field(description="Host name or IP address")
    user: User = Field(description="Login name there")
    key: Text = Field(description="Name of the key in connections.ssh")
    port: Port = Field(22, description="Port of its SSH server")
    jump: Text = Field("", description="Id of the ssh platform to go through")
    host_key: HostKey = Field("", description="The server's own key; else it is pinned by `make trust`")
    check_host_key: Flag = Field(True, description="false: trust whatever answers at the address")


class Docker(Platform):
    """A registry of container images."""

    type: Literal["docker"]
    address: Registry = Field(description="Host of the registry")
    user: Text = Field(description="Login name there")
    key: Text = Field(description="Name of the password in connections.docker")
    email: Text = Field("", description="Where the registry asks for one")


class Postgres(Platform):
    """A PostgreSQL database."""

    type: Literal["postgres"]
    address: Host = Field(description="Host name or IP address")
    port: Port = Field(5432, description="Port of the server")
    user: Text = Field(description="Role that logs in")
    database: Text = Field("", alias="schema", description="Name of the database")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "prefer", description="Whether the connection is encrypted"
    )


class S3(Platform):
    """An S3 store."""

    type: Literal["s3"]
    address: Url = Field("", description="Address of the store; without it Amazon's")
    region: Text = Field("", description="Region that requests are signed for")
    bucket: Text = Field("", description="Bucket that is taken by default")


class Http(Platform):
    """A web service."""

    type: Literal["http"]
    address: Url = Field(description="Address that paths are put behind")
    user: Text = Field("", description="Login name, beside a password")


class Mlflow(Platform):
    """An MLflow server."""

    type: Literal["mlflow"]
    address: Url = Field(description="Address of the server")
    user: Text = Field("", description="Login name, beside a password")


class Smtp(Platform):
    """A mail server."""

    type: Literal["smtp"]
    address: Host = Field(description="Host name or IP address")
    port: Port = Field(587, description="Port of the server")
    user: Text = Field("", description="Login name")
    from_email: Text = Field("", description="Sender of the mails")
    starttls: Flag = Field(True, description="Turn to encryption after connecting, as on port 587")
    ssl: Flag = Field(False, description="Encrypt from the start, as on port 465")


class Firecrest(Batch):
    """A machine reached over FirecREST, with a client's credentials or a token instead of a login."""

    type: Literal["firecrest"]
    address: Url = Field(description="Address of the API")
    token_url: Url = Field("", description="Address that gives out access tokens; a token file needs none")
    system: Text = Field(description="Name of the machine in the API")
    key: Text = Field(description="Name of the client or token in connections.firecrest")
    scope: Text = Field("", description="Scope to ask tokens for")


class Kubernetes(Platform):
    """A Kubernetes cluster."""

    type: Literal["kubernetes"]
    key: Text = Field(description="Name of the kubeconfig in connections.kubernetes")
    namespace: Text = Field("default", description="Namespace that is taken by default")
    context: Text = Field("", description="Context of the kubeconfig; without it its current one")


class Raw(Strict):
    """Any connection, in the words that Airflow's own import takes."""

    conn_type: Text = Field(description="Type of the connection, as Airflow lists them")
    login: Lines = Field("", description="Login name")
    password: Secret = Field(NOTHING, description="Password, or ${NAME} from the environment")
    host: Lines = Field("", description="Host name or address")
    port: Port = Field(1, description="Port")
    database: Lines = Field("", alias="schema", description="Schema, or database")
    extra: Extra = Field({}, description="What else the type takes")
    extra_dejson: Extra = Field({}, description="The same under its other name")
    description: Text = Field("", description="What it is for, as Airflow shows it")


class Pool(Strict):
    """A pool of Airflow: how many tasks of a kind run at a time."""

    slots: Slots
    description: Text = ""
    include_deferred: Flag = Field(False, description="Whether a deferred task keeps its slot")


AnyPlatform = Annotated[
    Ssh | Docker | Postgres | S3 | Http | Mlflow | Smtp | Firecrest | Kubernetes, Field(discriminator="type")
]


class SecretsFile(Strict):
    """Every platform a team computes on, and the credentials they need."""

    model_config = ConfigDict(extra="forbid", title="secrets.yaml")
    platforms: dict[str, dict[str, AnyPlatform] | None] | None = Field(
        None, description="<group>: <name>: what it is and how it is reached"
    )
    connections: Connections | None = Field(None, description="<type>: <key name>: credentials")
    raw: dict[str, Raw | str] | None = Field(None, description="Any other connection, as Airflow's own JSON or URI")
    variables: dict[str, Any] | None = Field(None, description="Airflow's variables")
    pools: dict[str, Slots | Pool] | None = Field(None, description="Airflow's pools: slots, or a mapping")


MODELS: dict[str, type[Platform]] = {
    "ssh": Ssh,
    "sftp": Ssh,
    "docker": Docker,
    "postgres": Postgres,
    "s3": S3,
    "http": Http,
    "mlflow": Mlflow,
    "smtp": Smtp,
    "firecrest": Firecrest,
    "kubernetes": Kubernetes,
}


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys that a mapping of this model takes."""
    return [field.alias or name for name, field in model.model_fields.items()]


def known_words() -> frozenset[str]:
    """Return every key of the schema: what may be named in a message without giving away a value."""
    models: list[type[BaseModel]] = [SecretsFile, Connections, Raw, Pool, *MODELS.values(), *CREDENTIALS.values()]
    return frozenset(key for model in models for key in keys_of(model))
