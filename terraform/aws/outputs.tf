output "workers" {
  description = "The machines there are, by instance id, each as an entry of `workers` in workers.json. The controller adds its key and the machine's host key (on Windows who logs on, cores and fingerprint)."
  value       = module.workers.workers
}

output "group" {
  description = "Name of the autoscaling group."
  value       = module.workers.group
}

output "staging_bucket" {
  description = "Name of the staging bucket; the worker image goes into it under docker_image_archive."
  value       = module.workers.staging_bucket
}

output "host_key_prefix" {
  description = "Followed by INSTANCE_ID.pub: object of the staging bucket that a machine writes its SSH host key to (on Windows the SHA-256 of its WinRM certificate). Only that machine can."
  value       = module.workers.host_key_prefix
}

output "tags" {
  description = "Tags of everything that belongs to this group."
  value       = module.workers.tags
}
