output "workers" {
  description = "The machines, as workers: entries of workers.json by worker id."
  value       = module.workers.workers
}

output "group" {
  description = "Name of the autoscaling group."
  value       = module.workers.group
}

output "staging_bucket" {
  description = "Name of the staging bucket."
  value       = module.workers.staging_bucket
}

output "tags" {
  description = "Tags of everything that belongs to this burst."
  value       = module.workers.tags
}
