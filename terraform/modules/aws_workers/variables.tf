variable "name" {
  description = "Name of the group of workers, and beginning of the names of all it consists of."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,27}$", var.name))
    error_message = "name has 3 to 28 small letters, digits and hyphens, a letter first."
  }
}

variable "campaign" {
  description = "Campaign that the machines are rented for; a tag on everything."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", var.campaign))
    error_message = "campaign has 1 to 64 letters, digits, dots, hyphens and underscores."
  }
}

variable "owner" {
  description = "Who rents them, user@host; a tag on everything."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9@._-]{1,128}$", var.owner))
    error_message = "owner is user@host."
  }
}

variable "launch_token" {
  description = "Chosen by the controller for this launch; a tag on everything, so that a launch whose answer was lost is found again."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]{8,64}$", var.launch_token))
    error_message = "launch_token has 8 to 64 letters, digits and hyphens."
  }
}

variable "expires_at" {
  description = "When the machines end themselves, whatever the controller does: UTC, 2026-08-01T18:00:00Z."
  type        = string

  validation {
    condition     = can(regex("^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$", var.expires_at)) && can(timeadd(var.expires_at, "0s"))
    error_message = "expires_at is a time in UTC such as 2026-08-01T18:00:00Z."
  }
}

variable "max_hours" {
  description = "The farthest that expires_at may be from now, hours: a guard against a wrong date."
  type        = number
  default     = 72

  validation {
    condition     = var.max_hours >= 1 && var.max_hours <= 336
    error_message = "max_hours is from 1 to 336."
  }
}

variable "idle_minutes" {
  description = "A machine that has run no plan for so many minutes ends itself."
  type        = number
  default     = 15

  validation {
    condition     = var.idle_minutes >= 5 && var.idle_minutes <= 240 && floor(var.idle_minutes) == var.idle_minutes
    error_message = "idle_minutes is a whole number from 5 to 240."
  }
}

variable "workers" {
  description = "Machines there are to be; left out, as many as there are (none at first), which the controller decides."
  type        = number
  default     = null

  validation {
    condition     = try(var.workers >= 0 && var.workers <= 500 && floor(var.workers) == var.workers, var.workers == null)
    error_message = "workers is a whole number from 0 to 500."
  }
}

variable "max_workers" {
  description = "Machines at most, when the controller scales the group."
  type        = number

  validation {
    condition     = var.max_workers >= 1 && var.max_workers <= 500 && floor(var.max_workers) == var.max_workers
    error_message = "max_workers is a whole number from 1 to 500."
  }
}

variable "worker_system" {
  description = "linux: plans run in Docker containers, reached by SSH. windows: plans run in HEC-RAS on the desktop, reached by WinRM."
  type        = string
  default     = "linux"

  validation {
    condition     = contains(["linux", "windows"], var.worker_system)
    error_message = "worker_system is linux or windows."
  }
}

variable "instance_types" {
  description = "Machine types that will do, several for likelier capacity. Spot machines are of the type that is cheapest and least likely to be taken, full-price ones of the first that is there."
  type        = list(string)
  default     = ["c7i.2xlarge", "c6i.2xlarge", "c5.2xlarge", "m6i.2xlarge"]

  validation {
    condition     = length(var.instance_types) >= 1 && alltrue([for t in var.instance_types : can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", t))])
    error_message = "instance_types lists types such as c6i.2xlarge."
  }
  validation {
    condition     = !anytrue([for t in var.instance_types : can(regex("^(a1\\.|[a-z]+\\d+g)", t))])
    error_message = "instance_types holds an ARM type, and HEC-RAS runs on x86_64 only."
  }
}

variable "on_demand_base" {
  description = "So many machines are bought at the full price, which nobody takes away; the rest as on_demand_percentage says. Left out, as many as the controller decides (none at first)."
  type        = number
  default     = null

  validation {
    condition     = try(var.on_demand_base >= 0 && floor(var.on_demand_base) == var.on_demand_base, var.on_demand_base == null)
    error_message = "on_demand_base is a whole number, 0 or more."
  }
}

variable "on_demand_percentage" {
  description = "Share of the machines above on_demand_base that are bought at the full price, percent; the others are spot machines."
  type        = number
  default     = 0

  validation {
    condition     = var.on_demand_percentage >= 0 && var.on_demand_percentage <= 100 && floor(var.on_demand_percentage) == var.on_demand_percentage
    error_message = "on_demand_percentage is a whole number from 0 to 100."
  }
}

variable "machine_image" {
  description = "AMI of the machines: Amazon Linux 2023 (Windows Server 2022), or one made from it; the latest when left out."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(ami-[0-9a-f]{8,17})?$", var.machine_image))
    error_message = "machine_image is an AMI such as ami-0123456789abcdef0."
  }
}

variable "disk_gib" {
  description = "Size of each machine's disk, GiB."
  type        = number
  default     = 100

  validation {
    condition     = var.disk_gib >= 30 && var.disk_gib <= 16000 && floor(var.disk_gib) == var.disk_gib
    error_message = "disk_gib is a whole number from 30 to 16000."
  }
}

variable "vpc_id" {
  description = "Network that the machines are in."
  type        = string

  validation {
    condition     = can(regex("^vpc-[0-9a-f]{8,17}$", var.vpc_id))
    error_message = "vpc_id is such as vpc-0123456789abcdef0."
  }
}

variable "subnet_ids" {
  description = "Subnets of that network, best in several zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 1 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]{8,17}$", id))])
    error_message = "subnet_ids lists at least one subnet such as subnet-0123456789abcdef0."
  }
}

variable "public_ip" {
  description = "Give the machines public addresses; without, the controller is in the network or has a way into it."
  type        = bool
  default     = false
}

variable "access_cidrs" {
  description = "Addresses of the controllers, in CIDR notation; nobody else gets in."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.access_cidrs : try(cidrhost(cidr, 0) == split("/", cidr)[0], false)])
    error_message = "access_cidrs lists networks such as 203.0.113.7/32 or 2001:db8::/64, by their first address."
  }
}

variable "allow_access_from_anywhere" {
  description = "Take 0.0.0.0/0, and networks nearly as large, in access_cidrs: the whole world may try the door."
  type        = bool
  default     = false
}

variable "ssh_public_key" {
  description = "Public key of the controller, which is let in as user ras; on Windows the RSA key that the administrator's first password is encrypted with."
  type        = string

  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256) [A-Za-z0-9+/=]+( .*)?$", var.ssh_public_key))
    error_message = "ssh_public_key is one line of a .pub file."
  }
}

variable "docker_image" {
  description = "Image that plans run in, as the inventory names it. It is loaded from docker_image_archive of the staging bucket."
  type        = string
  default     = "hecras:6.6"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_./:@-]{0,254}$", var.docker_image))
    error_message = "docker_image is the name of an image such as hecras:6.6."
  }
}

variable "docker_image_archive" {
  description = "Object of the staging bucket that holds the image (docker save | gzip); the controller puts it there."
  type        = string
  default     = "images/worker.tar.gz"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_./-]{0,254}$", var.docker_image_archive))
    error_message = "docker_image_archive is the key of an object such as images/worker.tar.gz."
  }
}

variable "cores_per_plan" {
  description = "Cores that a plan gets."
  type        = number
  default     = 4

  validation {
    condition     = var.cores_per_plan >= 1 && var.cores_per_plan <= 4096 && floor(var.cores_per_plan) == var.cores_per_plan
    error_message = "cores_per_plan is a whole number from 1 to 4096."
  }
}

variable "queue_priority" {
  description = "0 to 9; workers with a lower number are filled first."
  type        = number
  default     = 5

  validation {
    condition     = var.queue_priority >= 0 && var.queue_priority <= 9 && floor(var.queue_priority) == var.queue_priority
    error_message = "queue_priority is a whole number from 0 to 9."
  }
}

variable "staging_days" {
  description = "Objects of the staging bucket go after so many days."
  type        = number
  default     = 7

  validation {
    condition     = var.staging_days >= 1 && var.staging_days <= 365 && floor(var.staging_days) == var.staging_days
    error_message = "staging_days is a whole number from 1 to 365."
  }
}
