# One file a behaviour: network.tf who gets in; storage.tf what is staged; identity.tf what machines may do; machines.tf
# what a machine is, and how many there are; expiry.tf when they end. All of it is in one resource group.

locals {
  tags = {
    "ras-runner-managed-by"   = "ras-runner"
    "ras-runner-campaign"     = var.campaign
    "ras-runner-owner"        = var.owner
    "ras-runner-expires-at"   = var.expires_at
    "ras-runner-launch-token" = var.launch_token
  }
  linux = var.worker_system == "linux"
  # of the scale set, and so of its machines: what inventory/azure_rm.yml reads
  machine_tags = merge(local.tags, local.linux ? { "ras-runner-docker-image" = var.docker_image } : {})
}

data "azurerm_client_config" "this" {}

resource "azurerm_resource_group" "workers" {
  name     = var.name
  location = var.location
  tags     = local.tags
}
