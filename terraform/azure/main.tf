# Workers on Azure. The backend's settings are given at `terraform init -backend-config=...`: each group has its own state.
provider "azurerm" {
  subscription_id     = var.subscription_id
  storage_use_azuread = true

  features {
    resource_group {
      # what machines leave behind in the group goes with it
      prevent_deletion_if_contains_resources = false
    }
  }
}

module "workers" {
  source = "../modules/azure_workers"

  location                   = var.location
  name                       = var.name
  campaign                   = var.campaign
  owner                      = var.owner
  launch_token               = var.launch_token
  expires_at                 = var.expires_at
  max_hours                  = var.max_hours
  idle_minutes               = var.idle_minutes
  workers                    = var.workers
  max_workers                = var.max_workers
  worker_system              = var.worker_system
  vm_sizes                   = var.vm_sizes
  on_demand_base             = var.on_demand_base
  on_demand_percentage       = var.on_demand_percentage
  machine_image              = var.machine_image
  disk_gib                   = var.disk_gib
  encryption_at_host         = var.encryption_at_host
  subnet_id                  = var.subnet_id
  zones                      = var.zones
  public_ip                  = var.public_ip
  access_cidrs               = var.access_cidrs
  allow_access_from_anywhere = var.allow_access_from_anywhere
  ssh_public_key             = var.ssh_public_key
  windows_password           = var.windows_password
  docker_image               = var.docker_image
  docker_image_archive       = var.docker_image_archive
  cores_per_plan             = var.cores_per_plan
  queue_priority             = var.queue_priority
  staging_days               = var.staging_days
}
