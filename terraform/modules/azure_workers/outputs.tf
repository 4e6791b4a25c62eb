output "workers" {
  description = "The machines that have an address, by name, each as an entry of `workers` in workers.json. The controller adds its key and the machine's host key (on Windows who logs on, cores and fingerprint)."
  value = {
    for machine in data.azurerm_virtual_machine_scale_set.workers.instances : machine.name => {
      name = machine.name
      type = local.linux ? "docker" : "winrm"
      parameters = merge({
        queue_priority = var.queue_priority
        cores_per_plan = var.cores_per_plan
        worker_folder  = local.worker_folder
        }, local.linux ? {
        docker_host  = "ssh://ras@${var.public_ip ? machine.public_ip_address : machine.private_ip_address}"
        docker_image = var.docker_image
        } : {
        hostname = var.public_ip ? machine.public_ip_address : machine.private_ip_address
      })
    } if coalesce(var.public_ip ? machine.public_ip_address : machine.private_ip_address, "-") != "-"
  }
}

output "group" {
  description = "Name of the scale set, and of the resource group that holds everything."
  value       = azurerm_orchestrated_virtual_machine_scale_set.workers.name
}

output "staging_endpoint" {
  description = "Address of the staging account; the worker image goes into its container images under docker_image_archive."
  value       = azurerm_storage_account.staging.primary_blob_endpoint
}

output "host_key_prefix" {
  description = "Followed by MACHINE_NAME.pub: blob of the staging account that a machine writes its SSH host key to (on Windows the SHA-256 of its WinRM certificate). Written once, replaced by nobody."
  value       = "hosts/"
}

output "tags" {
  description = "Tags of everything that belongs to this group."
  value       = local.tags
}
