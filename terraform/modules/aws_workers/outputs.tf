output "workers" {
  description = "The machines, as workers: entries of workers.json by worker id."
  value = {
    for index, id in data.aws_instances.workers.ids : id => merge({
      worker_id      = id
      type           = local.linux ? "docker" : "winrm"
      queue_priority = var.queue_priority
      cores_per_plan = var.cores_per_plan
      worker_folder  = local.worker_folder
      }, local.linux ? {
      docker_host  = "ssh://ras@${var.public_ip ? data.aws_instances.workers.public_ips[index] : data.aws_instances.workers.private_ips[index]}"
      docker_image = var.docker_image
      } : {
      hostname = var.public_ip ? data.aws_instances.workers.public_ips[index] : data.aws_instances.workers.private_ips[index]
    })
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

output "tags" {
  description = "Tags of everything that belongs to this group."
  value       = local.tags
}
