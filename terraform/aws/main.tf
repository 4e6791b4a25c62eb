# Workers on AWS. The backend's settings are given at `terraform init -backend-config=...`: each burst has its own state.
provider "aws" {
  region = var.region
}

module "workers" {
  source = "../modules/aws_workers"

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
  instance_types             = var.instance_types
  on_demand_base             = var.on_demand_base
  on_demand_percentage       = var.on_demand_percentage
  machine_image              = var.machine_image
  disk_gib                   = var.disk_gib
  vpc_id                     = var.vpc_id
  subnet_ids                 = var.subnet_ids
  public_ip                  = var.public_ip
  access_cidrs               = var.access_cidrs
  allow_access_from_anywhere = var.allow_access_from_anywhere
  ssh_public_key             = var.ssh_public_key
  docker_image               = var.docker_image
  docker_image_archive       = var.docker_image_archive
  cores_per_plan             = var.cores_per_plan
  queue_priority             = var.queue_priority
  staging_days               = var.staging_days
}
