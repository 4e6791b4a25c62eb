locals {
  addresses = var.public_ip ? data.aws_instances.workers.public_ips : data.aws_instances.workers.private_ips
}

output "workers" {
  description = "The machines there are, by instance id, each as an entry of `workers` in workers.json. The controller adds its key and the machine's host key (on Windows who logs on, cores and fingerprint)."
  value = {
    # destroy works these out as well, and must not fail where data.aws_instances.workers would
    for index, id in data.aws_instances.workers.ids : id => {
      name = id
      type = local.linux ? "docker" : "winrm"
      parameters = merge({
        queue_priority = var.queue_priority
        cores_per_plan = var.cores_per_plan
        worker_folder  = local.worker_folder
        }, local.linux ? {
        docker_host  = "ssh://ras@${local.addresses[index]}"
        docker_image = var.docker_image
        } : {
        hostname = local.addresses[index]
      })
    } if index < length(local.addresses)
  }
}

output "group" {
  description = "Name of the autoscaling group."
  value       = aws_autoscaling_group.workers.name
}

output "staging_bucket" {
  description = "Name of the staging bucket; the worker image goes into it under docker_image_archive."
  value       = aws_s3_bucket.staging.bucket
}

output "host_key_prefix" {
  description = "Followed by INSTANCE_ID.pub: object of the staging bucket that a machine writes its SSH host key to (on Windows the SHA-256 of its WinRM certificate). Only that machine can."
  value       = "${local.hosts}/${aws_iam_role.worker.unique_id}:"
}

output "tags" {
  description = "Tags of everything that belongs to this group."
  value       = local.tags
}
