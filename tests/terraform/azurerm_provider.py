"""A provider for Terraform that knows azurerm's schema and nothing of Azure: for ``validate`` and ``mock_provider``.

Started by Terraform as ``terraform-provider-azurerm``; ``RAS_TEST_AZURERM_SCHEMA`` names the file of the schema.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import tf.provider
import tf.runner
from tf.gen import tfplugin_pb2 as messages
from tf.gen import tfplugin_pb2_grpc as services

_NESTING = messages.Schema.NestedBlock.NestingMode


def _block(schema: dict[str, Any]) -> Any:
    block = messages.Schema.Block(version=0)
    for name, attribute in sorted(schema["attributes"].items()):
        flags = {key: attribute.get(key, False) for key in ("required", "optional", "computed")}
        block.attributes.append(
            messages.Schema.Attribute(name=name, type=json.dumps(attribute["type"]).encode(), **flags)
        )
    for name, nested in sorted(schema["block_types"].items()):
        block.block_types.append(
            messages.Schema.NestedBlock(
                type_name=name,
                block=_block(nested["block"]),
                nesting=_NESTING.Value(nested["nesting_mode"].upper()),
                min_items=nested.get("min_items", 0),
                max_items=nested.get("max_items", 0),
            )
        )
    return block


def _schema(schema: dict[str, Any]) -> Any:
    return messages.Schema(version=0, block=_block(schema["block"]))


class SchemaOnly(services.ProviderServicer):  # type: ignore[misc]
    """Answers what ``validate`` and mocks ask; refuses to be configured, so that nothing seems to reach Azure."""

    def __init__(self, _: object) -> None:
        known = json.loads(Path(os.environ["RAS_TEST_AZURERM_SCHEMA"]).read_text(encoding="utf-8"))
        self.answer = messages.GetProviderSchema.Response(
            provider=_schema(known["provider"]),
            provider_meta=messages.Schema(version=0, block=messages.Schema.Block()),
            resource_schemas={name: _schema(schema) for name, schema in known["resource_schemas"].items()},
            data_source_schemas={name: _schema(schema) for name, schema in known["data_source_schemas"].items()},
        )

    def GetProviderSchema(self, _request: Any, _context: Any) -> Any:
        """The schema."""
        return self.answer

    def ValidateProviderConfig(self, _request: Any, _context: Any) -> Any:
        """Terraform itself has compared it with the schema."""
        return messages.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, _request: Any, _context: Any) -> Any:
        """The same."""
        return messages.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, _request: Any, _context: Any) -> Any:
        """The same."""
        return messages.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, _request: Any, _context: Any) -> Any:
        """Refuse."""
        refusal = messages.Diagnostic(
            severity=messages.Diagnostic.Severity.ERROR,
            summary="this is the schema of azurerm without the provider",
            detail="It serves `terraform validate` and tests with mock_provider; it cannot reach Azure.",
        )
        return messages.ConfigureProvider.Response(diagnostics=[refusal])

    def StopProvider(self, _request: Any, _context: Any) -> Any:
        """Nothing to stop."""
        return messages.StopProvider.Response()


if __name__ == "__main__":
    tf.provider.ProviderServicer = SchemaOnly
    tf.runner.run_provider(None)
