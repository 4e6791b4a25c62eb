# One file a behaviour: network.tf who gets in; storage.tf what is staged; identity.tf what machines may do; launch.tf
# what a machine is; group.tf how many there are, and when they end.

locals {
  tags = {
    "ras-runner:managed-by"   = "ras-runner"
    "ras-runner:campaign"     = var.campaign
    "ras-runner:owner"        = var.owner
    "ras-runner:expires-at"   = var.expires_at
    "ras-runner:launch-token" = var.launch_token
  }
  linux = var.worker_system == "linux"
  # of machines and their disks: what inventory/aws_ec2.yml reads
  machine_tags = merge(
    local.tags, { Name = "${var.name}-worker" }, local.linux ? { "ras-runner:docker-image" = var.docker_image } : {}
  )
}

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}
