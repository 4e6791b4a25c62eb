# A machine may read the image, write down its own identity once, and end itself. Nothing else.
resource "azurerm_user_assigned_identity" "worker" {
  name                = "${var.name}-worker"
  resource_group_name = azurerm_resource_group.workers.name
  location            = var.location
  tags                = local.tags
}

resource "azurerm_role_definition" "end_itself" {
  name        = "${var.name} ${var.launch_token}: end itself"
  description = "ras-runner worker of campaign ${var.campaign}"
  scope       = azurerm_resource_group.workers.id

  permissions {
    actions = ["Microsoft.Compute/virtualMachines/delete"]
  }
}

# "add" makes new blobs and replaces none: what one machine has said of itself, no other can change
resource "azurerm_role_definition" "say_who_it_is" {
  name        = "${var.name} ${var.launch_token}: say who it is"
  description = "ras-runner worker of campaign ${var.campaign}"
  scope       = azurerm_resource_group.workers.id

  permissions {
    data_actions = ["Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action"]
  }
}

resource "azurerm_role_assignment" "end_itself" {
  scope              = azurerm_resource_group.workers.id
  role_definition_id = azurerm_role_definition.end_itself.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.worker.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "say_who_it_is" {
  scope              = azurerm_storage_container.staging["hosts"].id
  role_definition_id = azurerm_role_definition.say_who_it_is.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.worker.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "read_the_image" {
  scope                = azurerm_storage_container.staging["images"].id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.worker.principal_id
  principal_type       = "ServicePrincipal"
}

# who applies this puts the image there, and reads the host keys: account keys are switched off
resource "azurerm_role_assignment" "controller" {
  scope                = azurerm_storage_account.staging.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = data.azurerm_client_config.this.object_id
}
