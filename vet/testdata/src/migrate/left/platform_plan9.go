package left

func elsewhere() { onPlatforms.Forget("") }
