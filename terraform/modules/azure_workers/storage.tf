locals {
  # of the whole world's storage accounts no two have the same name: letters and digits, at most 24
  staging_name = "${substr(replace(var.name, "-", ""), 0, 12)}${substr(sha256("${data.azurerm_client_config.this.subscription_id} ${var.name} ${var.launch_token}"), 0, 12)}"
}

# Holds the worker image, and the host keys of the machines. Goes with the group, with all that is in it.
resource "azurerm_storage_account" "staging" {
  name                            = local.staging_name
  resource_group_name             = azurerm_resource_group.workers.name
  location                        = var.location
  account_tier                    = "Standard"
  account_replication_type        = "LRS"
  min_tls_version                 = "TLS1_2"
  https_traffic_only_enabled      = true
  allow_nested_items_to_be_public = false
  shared_access_key_enabled       = false
  default_to_oauth_authentication = true
  local_user_enabled              = false
  tags                            = local.tags

  # the machines' subnet (it needs the service endpoint Microsoft.Storage), and the controllers
  network_rules {
    default_action             = "Deny"
    bypass                     = ["None"]
    virtual_network_subnet_ids = [var.subnet_id]
    # Azure takes single IPv4 addresses without /32, and IPv4 only
    ip_rules = [for cidr in lookup(local.doors, "ipv4", []) : trimsuffix(cidr, "/32")]
  }
}

resource "azurerm_storage_container" "staging" {
  for_each = toset(["images", "hosts"])

  name                  = each.key
  storage_account_id    = azurerm_storage_account.staging.id
  container_access_type = "private"
}

resource "azurerm_storage_management_policy" "staging" {
  storage_account_id = azurerm_storage_account.staging.id

  rule {
    name    = "expire"
    enabled = true

    filters {
      blob_types = ["blockBlob"]
    }
    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = var.staging_days
      }
    }
  }
}
