"""The schema of secrets.yaml: what the credentials of each type may say.

A secret X stands in the file itself (X), in a file (X_file) or is printed by a command (X_command): one of the three.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema

from scripts.platforms.fields import TEXT_SCHEMA, SecretsPath, Text

Alternatives = tuple[tuple[str, ...], ...]
Secret = Annotated[SecretStr, WithJsonSchema({**TEXT_SCHEMA, "writeOnly": True})]
NOTHING = SecretStr("")


class Strict(BaseModel):
    """A mapping that takes the keys of its model and no others."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


def ways(secret: str) -> tuple[str, str, str]:
    """Return the keys of which just one gives a secret."""
    return secret, f"{secret}_file", f"{secret}_command"


def _demand_one_way(schema: dict[str, Any], model: type[Credential]) -> None:
    """Tell the JSON schema what `values.py` checks: one alternative, each of its secrets given in one way."""
    each = []
    for alternative in model.alternatives:
        others = [key for names in model.alternatives if names != alternative for name in names for key in ways(name)]
        demands: list[dict[str, Any]] = [{"not": {"anyOf": [{"required": [key]} for key in others]}}] if others else []
        for secret in alternative:
            given = [{"required": [key]} for key in ways(secret)]
            demands.append({"oneOf": [*given, {"not": {"anyOf": given}}] if secret in model.optional else given})
        each.append({"allOf": demands})
    if each:
        schema["oneOf"] = each


class Credential(Strict):
    """What every credential knows: the secrets it may hold, of which one alternative must be given."""

    model_config = ConfigDict(json_schema_extra=_demand_one_way)
    alternatives: ClassVar[Alternatives] = ()
    optional: ClassVar[tuple[str, ...]] = ()  # secrets of the first alternative that may be left out


class Password(Credential):
    """A password."""

    alternatives: ClassVar[Alternatives] = (("password",),)
    password: Secret = Field(NOTHING, description="The password, or ${NAME} from the environment")
    password_file: Text = Field("", description="File that holds the password")
    password_command: Text = Field("", description="Command that prints the password")


class SshKey(Password):
    """A key pair that tasks log in with; or a password where the server takes no keys."""

    alternatives: ClassVar[Alternatives] = (("phrase",), ("password",))
    optional: ClassVar[tuple[str, ...]] = ("phrase",)
    path: SecretsPath = Field("", description="Where the container finds the key; without it /run/secrets/<key name>")
    file: Text = Field("", description="The private key on this machine; a certificate lies beside it")
    phrase: Secret = Field(NOTHING, description="Passphrase of the key; left out, or `empty`, for a key without one")
    phrase_file: Text = Field("", description="File that holds the passphrase")
    phrase_command: Text = Field("", description="Command that prints the passphrase")


class PasswordOrToken(Password):
    """A password, or a token that is sent instead of one."""

    alternatives: ClassVar[Alternatives] = (("password",), ("token",))
    token: Secret = Field(NOTHING, description="The token, or ${NAME} from the environment")
    token_file: Text = Field("", description="File that holds the token")
    token_command: Text = Field("", description="Command that prints the token")


class AccessKey(Credential):
    """The two halves of an S3 access key."""

    alternatives: ClassVar[Alternatives] = (("access_key", "secret_key"),)
    access_key: Secret = Field(NOTHING, description="Access key id")
    access_key_file: Text = Field("", description="File that holds the access key id")
    access_key_command: Text = Field("", description="Command that prints the access key id")
    secret_key: Secret = Field(NOTHING, description="Secret access key, or ${NAME} from the environment")
    secret_key_file: Text = Field("", description="File that holds the secret access key")
    secret_key_command: Text = Field("", description="Command that prints the secret access key")


class Client(Credential):
    """An OAuth client, or a file into which a person puts an access token; tasks read it again at each use."""

    alternatives: ClassVar[Alternatives] = (("client_id", "client_secret"), ("token",))
    client_id: Secret = Field(NOTHING, description="Id of the client")
    client_id_file: Text = Field("", description="File that holds the id")
    client_id_command: Text = Field("", description="Command that prints the id")
    client_secret: Secret = Field(NOTHING, description="Its secret, or ${NAME} from the environment")
    client_secret_file: Text = Field("", description="File that holds its secret")
    client_secret_command: Text = Field("", description="Command that prints its secret")
    # A token lives for hours: neither the file itself nor a command could say the next one.
    token_file: Text = Field("", description="File that holds an access token, read again at each use")


class Kubeconfig(Credential):
    """A kubeconfig that points to no other files."""

    file: Text = Field(description="What `kubectl config view --raw --flatten` printed")


class Connections(Strict):
    """Credentials by type and name; a type with nothing below it is none."""

    ssh: dict[str, SshKey] | None = None
    sftp: dict[str, SshKey] | None = None
    docker: dict[str, Password] | None = None
    postgres: dict[str, Password] | None = None
    s3: dict[str, AccessKey] | None = None
    http: dict[str, PasswordOrToken] | None = None
    mlflow: dict[str, PasswordOrToken] | None = None
    smtp: dict[str, Password] | None = None
    firecrest: dict[str, Client] | None = None
    kubernetes: dict[str, Kubeconfig] | None = None


CREDENTIALS: dict[str, type[Credential]] = {
    "ssh": SshKey,
    "sftp": SshKey,
    "docker": Password,
    "postgres": Password,
    "s3": AccessKey,
    "http": PasswordOrToken,
    "mlflow": PasswordOrToken,
    "smtp": Password,
    "firecrest": Client,
    "kubernetes": Kubeconfig,
}
