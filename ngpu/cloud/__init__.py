"""What the published command-line client asks for (wire contract §7): logins, images, workspaces, groups, products."""
