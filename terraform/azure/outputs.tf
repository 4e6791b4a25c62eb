output "workers" {
  description = "The machines that have an address, by name, each as an entry of `workers` in workers.json. The controller adds its key and the machine's host key (on Windows who logs on, cores and fingerprint)."
  value       = module.workers.workers
}

output "group" {
  description = "Name of the scale set, and of the resource group that holds everything."
  value       = module.workers.group
}

output "staging_endpoint" {
  description = "Address of the staging account; the worker image goes into its container images under docker_image_archive."
  value       = module.workers.staging_endpoint
}

output "host_key_prefix" {
  description = "Followed by MACHINE_NAME.pub: blob of the staging account that a machine writes its SSH host key to (on Windows the SHA-256 of its WinRM certificate). Written once, replaced by nobody."
  value       = module.workers.host_key_prefix
}

output "tags" {
  description = "Tags of everything that belongs to this group."
  value       = module.workers.tags
}
