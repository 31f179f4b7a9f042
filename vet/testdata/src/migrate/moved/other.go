package moved

// This file has a call, and no import for the type.
func (s *store) otherURL(id string) error {
	_, err, _ := s.urls.Do(id, func() (any, error) { return s.url(id) })
	return err
}
