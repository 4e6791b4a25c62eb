resource "aws_autoscaling_group" "workers" {
  name                      = var.name
  min_size                  = 0
  max_size                  = var.max_workers
  desired_capacity          = var.workers
  vpc_zone_identifier       = var.subnet_ids
  capacity_rebalance        = true
  health_check_type         = "EC2"
  wait_for_capacity_timeout = "15m"
  # a machine that runs plans is protected by the controller, not from its birth
  protect_from_scale_in = false

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = var.on_demand_base
      on_demand_percentage_above_base_capacity = var.on_demand_percentage
      spot_allocation_strategy                 = "price-capacity-optimized"
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.worker.id
        version            = aws_launch_template.worker.latest_version
      }

      dynamic "override" {
        for_each = var.instance_types

        content {
          instance_type = override.value
        }
      }
    }
  }

  dynamic "tag" {
    for_each = merge(local.tags, { Name = "${var.name}-worker" })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  lifecycle {
    precondition {
      condition     = var.workers <= var.max_workers
      error_message = "workers (${var.workers}) is more than max_workers (${var.max_workers})."
    }
  }
}

# Machines end themselves at their expiry; this keeps the group from replacing them, and ends those that could not.
resource "aws_autoscaling_schedule" "expiry" {
  scheduled_action_name  = "expiry"
  autoscaling_group_name = aws_autoscaling_group.workers.name
  min_size               = 0
  max_size               = 0
  desired_capacity       = 0
  start_time             = var.expires_at
}

# The machines that are there once the group has its capacity; those that come later are found by their tags.
data "aws_instances" "workers" {
  instance_state_names = ["pending", "running"]

  filter {
    name   = "tag:aws:autoscaling:groupName"
    values = [aws_autoscaling_group.workers.name]
  }

  depends_on = [aws_autoscaling_group.workers]
}
