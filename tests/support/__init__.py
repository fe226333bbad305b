"""What several tests share: servers, lakes, jobs, places."""
